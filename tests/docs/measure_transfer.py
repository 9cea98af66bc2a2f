"""What one transfer costs at each step, on a bank of its own: the figures of docs/architecture.md.

    ./pants run tests/docs/measure_transfer.py

One client sends one transfer after another. Times are of the bank's own spans (OpenTelemetry) and
of PostgreSQL's log; sizes are counted by Envoy, by the kernel and by a listener on the bus.
"""

import asyncio
import os
import re
import subprocess
import threading
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import nats
from nats.aio.msg import Msg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console

from cbs.tools.lab.bench import measured_bank
from cbs.tools.lab.bench.load import pairs
from cbs.tools.local import health, nats_server, postgres, secrets, state
from cbs.tools.local.databases import connected
from cbs.tools.local.folder import Folder

WARM_UP, TRANSFERS = 300, 300
# Long enough for the fact to be heard, so that no transfer meets the one before it.
PAUSE_SECONDS, EXPORT_SECONDS = 0.03, 3.0
CREATED = 201
ENVOY = re.compile(r"(public\.downstream|payments\.upstream)_cx_([rt]x)_bytes_total: (\d+)")
KERNEL = re.compile(r"pid=(\d+).*?bytes_sent:(\d+).*?bytes_received:(\d+)", re.S)
LOGGED = re.compile(r"(\w+)@\w+ LOG:  duration: ([\d.]+) ms  (?:\w+ \S+: |statement: )\s*(.*)")
HEAR = "hear ledger"


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Collector(BaseHTTPRequestHandler):
    """Takes what the services export; spans by their trace and by what they are of."""

    traces: ClassVar[defaultdict[str, dict[str, Span]]] = defaultdict(dict)
    heard: ClassVar[defaultdict[str, list[Span]]] = defaultdict(list)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in each.resource.attributes}
            for found in (span for scope in each.scope_spans for span in scope.spans):
                span = Span(found.start_time_unix_nano, found.end_time_unix_nano)
                if found.name == HEAR:
                    self.heard[named["service.name"]].append(span)
                self.traces[found.trace_id.hex()][f"{named['service.name']} {found.name}"] = span
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing of each export."""


class Payer:
    """A client with one connection, who waits for each answer."""

    def __init__(self, folder: Folder, edge_url: str) -> None:
        self.pairs = pairs(asyncio.run(measured_bank.accounts(folder, "walk")))
        self.http = HTTPConnection(urlsplit(edge_url).netloc)
        self.token = folder.token(measured_bank.USER).read_text().strip()

    def pay(self, *, traced: bool = False) -> tuple[str, int]:
        """The id of its trace, and the nanoseconds until the answer was there."""
        (payer, payee), trace = next(self.pairs), uuid4().hex
        wanted = {"remitter_account": payer, "beneficiary_account": payee}
        body = msgspec.json.encode(
            wanted | {"amount_minor": 125050, "currency": "INR", "narrative": "rent"}
        )
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Idempotency-Key": trace,
            "Content-Type": "application/json",
            "traceparent": f"00-{trace}-{trace[:16]}-{int(traced):02d}",
        }
        began = time.perf_counter_ns()
        self.http.request("POST", "/v1/payments/transfers", body, headers)
        answer = self.http.getresponse()
        said = answer.read()
        assert answer.status == CREATED, said
        return trace, time.perf_counter_ns() - began


def times(payer: Payer) -> dict[str, list[int]]:
    """Nanoseconds of each step; every other transfer is not traced, to see what tracing costs."""
    took: defaultdict[str, list[int]] = defaultdict(list)
    asked: dict[str, int] = {}
    for _ in range(TRANSFERS):
        took["all, until the client has its answer"].append(payer.pay()[1])
        time.sleep(PAUSE_SECONDS)
        trace, length = payer.pay(traced=True)
        asked[trace] = length
        time.sleep(PAUSE_SECONDS)
    time.sleep(EXPORT_SECONDS)
    took["the same, traced"] = list(asked.values())
    for handled in Collector.heard.values():
        handled.sort(key=lambda span: span.start)
    for trace, whole in asked.items():
        spans = Collector.traces[trace]
        http, call = spans["payments POST"], spans["payments ledger.post"]
        verb, batch = spans["ledger post"], spans["ledger batch"]
        took["1 client, Envoy, sockets"].append(whole - http.length)
        took["2 payments"].append(http.length - call.length)
        took["3 NATS, envelopes"].append(call.length - verb.length)
        took["4 ledger, BEGIN, COMMIT"].append(verb.length - batch.length)
        took["5 the batch's statements"].append(batch.length)
        for service, heard in Collector.heard.items():
            hears = heard[bisect(heard, batch.end, key=lambda span: span.start)]
            took[f"6 {service}, until it has handled the fact, after the answer"].append(
                hears.end - http.end
            )
            took[f"7 {service} handles it"].append(hears.length)
    return took


async def statements(payer: Payer, admin_url: str, folder: Folder) -> Iterator[str]:
    """What PostgreSQL says that each statement of a transfer took, how often it was asked."""
    log = folder.log("postgres")
    async with connected(admin_url) as admin:
        before = await admin.fetchval("SELECT pg_current_wal_lsn()")
        for _ in range(TRANSFERS):
            payer.pay()
        await asyncio.sleep(1)
        wal = await admin.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", before)
        await admin.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        await admin.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(1)
        begins = log.stat().st_size
        for _ in range(TRANSFERS):
            payer.pay()
            await asyncio.sleep(PAUSE_SECONDS)
    took: defaultdict[str, list[float]] = defaultdict(list)
    for role, ms, sql in LOGGED.findall(log.read_bytes()[begins:].decode()):
        took[f"{role}: {sql.strip()[:60]}"].append(float(ms))
    lines = [
        f"{sum(each) / TRANSFERS:8.3f} ms in {len(each) / TRANSFERS:5.2f} steps  {name}"
        for name, each in took.items()
        if len(each) > TRANSFERS / 2
    ]
    return iter([f"{int(wal) // TRANSFERS} bytes of WAL, all services", *lines])


async def sizes(
    payer: Payer, now: state.BankState, folder: Folder, admin_port: int
) -> Iterator[str]:
    """Bytes by connection, all included; of messages on the bus what they carry."""
    parts = {part.name: part for part in now.programs}
    messages: defaultdict[str, list[int]] = defaultdict(list)

    async def heard(message: Msg) -> None:
        kind = message.subject
        if kind.startswith("_INBOX_"):
            kind = kind.partition(".")[0] + f" {message.data[:8].decode()}"
        messages[kind].append(len(message.data))

    def counted() -> dict[str, int]:
        _, stats = health.get(admin_port, "/stats?filter=cx_[rt]x_bytes_total")
        counts = {f"{cx} {way}": int(n) for cx, way, n in ENVOY.findall(stats.decode())}
        ss = ["ss", "-tnpiH", "dport", "=", f":{parts['postgres'].port}"]
        said = subprocess.run(ss, capture_output=True, text=True, check=True).stdout
        for pid, sent, received in KERNEL.findall(said):
            for name in ("ledger", "payments", "audit"):
                if parts[name].pid == int(pid):
                    for way, n in (("asks", sent), ("is told", received)):
                        key = f"{name} {way} PostgreSQL"
                        counts[key] = counts.get(key, 0) + int(n)
        return counts

    seed = str(secrets.nkey_seed(folder, nats_server.ADMIN))
    bus = await nats.connect(now.nats_url, nkeys_seed=seed)
    await bus.subscribe(">", cb=heard)
    await bus.flush()
    before = counted()
    for _ in range(TRANSFERS):
        await asyncio.to_thread(payer.pay)
    after = counted()
    await bus.drain()
    lines = [f"{(after[key] - before[key]) // TRANSFERS:6} bytes  {key}" for key in after]
    lines += [
        f"{median(each):6.0f} bytes x {len(each) / TRANSFERS:.2f}  {name}"
        for name, each in messages.items()
        if len(each) > TRANSFERS / 2
    ]
    return iter(lines)


def main() -> None:
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    os.environ |= {
        "CBS_TRACE_RATIO": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }
    console = Console(highlight=False, soft_wrap=True)
    with measured_bank.bank(None, console) as folder:
        now = state.ready(folder.state)
        assert now is not None
        ports = msgspec.json.decode((folder.root / "ports.json").read_bytes())
        os.environ["PGPASSFILE"] = str(secrets.pgpass(folder, postgres.ADMIN))
        admin_url = postgres.with_database(now.postgres_url, "postgres", postgres.ADMIN)
        payer = Payer(folder, now.edge_url)
        for _ in range(WARM_UP):
            payer.pay()
        for step, each in times(payer).items():
            console.print(f"{median(each) / 1e6:8.3f} ms  {step}")
        for line in asyncio.run(sizes(payer, now, folder, ports["edge-admin"])):
            console.print(line)
        for line in asyncio.run(statements(payer, admin_url, folder)):
            console.print(line)


if __name__ == "__main__":
    main()
