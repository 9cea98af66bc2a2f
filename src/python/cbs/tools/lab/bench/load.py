"""The load of `cbs bench`, in a process of its own, so that it takes no time from what it measures.

    python -m cbs.tools.lab.bench.load < JOB > MEASURED

Tokens and keys to the bus come by standard input or by file, never as arguments.
"""

import asyncio
import itertools
import random
import resource
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import nats
import uvloop
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cbs.platform.envelope import Call, RemoteRefusal, encode, received, reply_decoder
from cbs.platform.nats_connect import servers

ANSWER_SECONDS_MAX = 10.0
CREATED = 201
TOO_MUCH = frozenset({429, 503})
POST = "ledger.post"


class Job(msgspec.Struct, kw_only=True):
    """`clients` ask as fast as they are answered: over HTTP, or over NATS if there is a URL of it.

    `name` begins every key, so that no two runs share one.
    """

    name: str
    clients: int
    seconds: float
    token: str
    accounts: list[str]
    http_url: str = ""
    nats_url: str = ""
    nkey_file: str = ""
    nats_user: str = ""


class Measured(msgspec.Struct, kw_only=True):
    """`cpu_seconds` are this process's own; `refused` counts answers other than done, and
    `without_retry_after` those of them that should have said when to come back."""

    requests: int
    refused: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    without_retry_after: int = 0


@dataclass(slots=True)
class LoadCounts:
    milliseconds: "array[float]" = field(default_factory=lambda: array("d"))
    refused: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0

    def add(self, began: float, refusal: str) -> None:
        if refusal:
            self.refused[refusal] = self.refused.get(refusal, 0) + 1
        else:
            self.milliseconds.append(1000 * (time.perf_counter() - began))


def pairs(accounts: list[str]) -> Iterator[tuple[str, str]]:
    """Endlessly, payer and payee; of two accounts each pays the other in turn."""
    if len(accounts) == 2:
        return itertools.cycle([(accounts[0], accounts[1]), (accounts[1], accounts[0])])
    chance = random.Random(1)
    return (tuple(chance.sample(accounts, 2)) for _ in itertools.count())  # type: ignore[misc]


class LoadClient(asyncio.Protocol):
    """One kept-alive connection with one request under way, until `until`.

    It is rude: refused, it asks for the next thing at once, whatever Retry-After says.
    """

    def __init__(self, requests: Iterator[bytes], tally: LoadCounts, until: float) -> None:
        self.requests, self.tally, self.until = requests, tally, until
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.began, self.told_when = 0.0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.ask()

    def ask(self) -> None:
        assert self.transport is not None
        self.began = time.perf_counter()
        if self.began >= self.until:
            self.transport.close()
        else:
            self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, _: bytes) -> None:
        self.told_when |= name.lower() == b"retry-after"

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status in TOO_MUCH and not self.told_when:
            self.tally.without_retry_after += 1
        self.told_when = False
        self.tally.add(self.began, "" if status == CREATED else str(status))
        self.parser = httptools.HttpResponseParser(self)
        # Not from within the parser: its successor may be fed before it is left.
        asyncio.get_running_loop().call_soon(self.ask)

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self.until:
            self.tally.add(self.began, "hung up")
        if not self.left.done():
            self.left.set_result(None)


def http_requests(job: Job) -> Iterator[bytes]:
    """Encoded ahead but for the key and the accounts."""
    head = (
        f"POST /v1/payments/transfers HTTP/1.1\r\nHost: {urlsplit(job.http_url).netloc}\r\n"
        f"Authorization: Bearer {job.token}\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: %s-%d\r\nContent-Length: %d\r\n\r\n%s"
    )
    body = (
        '{"remitter_account":"%s","beneficiary_account":"%s","amount_minor":1,"currency":"INR",'
        '"narrative":"bench"}'
    )
    for number, (payer, payee) in enumerate(pairs(job.accounts)):
        wanted = body % (payer, payee)
        yield (head % (job.name, number, len(wanted), wanted)).encode()


async def over_http(job: Job, tally: LoadCounts) -> None:
    place, loop = urlsplit(job.http_url), asyncio.get_running_loop()
    assert place.hostname and place.port, job.http_url
    host, port = place.hostname, place.port
    requests, until = http_requests(job), time.perf_counter() + job.seconds

    def customer() -> LoadClient:
        return LoadClient(requests, tally, until)

    connected = await asyncio.gather(
        *(loop.create_connection(customer, host, port) for _ in range(job.clients))
    )
    await asyncio.wait([one.left for _, one in connected], timeout=job.seconds + ANSWER_SECONDS_MAX)


REPLIES = reply_decoder(msgspec.Raw)


def bus_requests(job: Job) -> Iterator[bytes]:
    for number, (payer, payee) in enumerate(pairs(job.accounts)):
        legs = [{"account": payer, "amount_minor": -1}, {"account": payee, "amount_minor": 1}]
        wanted = {"kind": "transfer", "currency": "INR", "legs": legs, "narrative": "bench"}
        call = Call(
            token=job.token,
            milliseconds_left=int(1000 * ANSWER_SECONDS_MAX),
            data=wanted,
            key=f"{job.name}-{number}",
            correlation_id=job.name,
        )
        yield encode(call)


async def over_nats(job: Job, tally: LoadCounts) -> None:
    client = await nats.connect(
        servers(job.nats_url),
        nkeys_seed=job.nkey_file or None,
        inbox_prefix=f"_INBOX_{job.nats_user}".encode(),
        allow_reconnect=False,
    )
    requests, until = bus_requests(job), time.perf_counter() + job.seconds
    try:
        await asyncio.gather(*(_caller(client, requests, tally, until) for _ in range(job.clients)))
    finally:
        await client.close()


async def _caller(
    client: Client, requests: Iterator[bytes], tally: LoadCounts, until: float
) -> None:
    while (began := time.perf_counter()) < until:
        try:
            reply = await client.request(f"cbs.{POST}", next(requests), timeout=ANSWER_SECONDS_MAX)
            received(REPLIES.decode(reply.data))
        except RemoteRefusal as refusal:
            tally.add(began, refusal.code)
        except (NatsError, TimeoutError) as error:
            tally.add(began, type(error).__name__)
        else:
            tally.add(began, "")


async def run_load(job: Job) -> Measured:
    """Raises what went wrong in the load itself: a figure would be a wrong one."""
    tally, began = LoadCounts(), time.perf_counter()
    bugs: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, bug: bugs.append(bug))
    await (over_nats if job.nats_url else over_http)(job, tally)
    if bugs:
        raise RuntimeError(f"{len(bugs)} failures, first {bugs[0]}") from bugs[0].get("exception")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    ordered = sorted(tally.milliseconds)
    return Measured(
        requests=len(ordered),
        refused=tally.refused,
        seconds=round(time.perf_counter() - began, 3),
        p50_ms=quantile(ordered, 0.50),
        p99_ms=quantile(ordered, 0.99),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        without_retry_after=tally.without_retry_after,
    )


def quantile(ordered: list[float], share: float) -> float:
    """Of what was measured, the least that this share did not exceed; 0 of nothing."""
    place = max(0, -int(-len(ordered) * share // 1) - 1)
    return round(ordered[place], 3) if ordered else 0.0


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run_load(job))))


if __name__ == "__main__":
    main()
