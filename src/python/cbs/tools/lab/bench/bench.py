"""`cbs bench`: how much this bank does on this machine, beside TPC-B in the same minutes.

Ratios to TPC-B travel from machine to machine; the figures themselves do not.
"""

import asyncio
import re
import uuid
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.lab.bench import load, measured_bank, tpcb
from cbs.tools.lab.bench.figures import BenchRun, compared, drift, show
from cbs.tools.lab.usage import cpu_seconds
from cbs.tools.local import command_line, health, secrets, state
from cbs.tools.local.command_line import CANNOT_SAY, NO, AsJson, Data, ends_with, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import ADMIN
from cbs.tools.local.process import CannotStart
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, RefusedByBank
from cbs.tools.local.state import BankState

WARM_UP_SECONDS = 2.0
SECONDS_MAX, CLIENTS_MAX = 3_600, 1_024
SECONDS, CLIENTS = 20, 64
BATCHES = re.compile(rb"^cbs_batch_size_(sum|count) ([0-9.e+]+)$", re.M)


class CannotBench(RuntimeError):
    """Something is missing for a measurement; the message says what."""


UNMEASURED = (CannotBench, CannotStart, NoBank, NoAnswerFromBank, RefusedByBank, OSError)


Seconds = Annotated[int, typer.Option(min=1, max=SECONDS_MAX, help="Of each measurement.")]
Clients = Annotated[int, typer.Option(min=1, max=CLIENTS_MAX, help="Who ask at the same time.")]


def bench(
    data: Data = None,
    seconds: Seconds = SECONDS,
    clients: Clients = CLIENTS,
    as_json: AsJson = False,
) -> None:
    """Measure transfers over HTTP and postings over NATS beside pgbench's TPC-B.

    Brings up a bank of its own for this, in a new folder that is erased afterwards; with --data
    it uses the bank that is up there, and leaves its customers and small transfers in it.
    Exit 0: measured. 1: the bank refused some. 3: it could not be measured.
    """
    console = command_line.console(as_json=as_json)
    with ends_with(CANNOT_SAY, *UNMEASURED), measured_bank.bank(data, console) as folder:
        runs = measure(folder, console, seconds=seconds, clients=clients)
    if as_json:
        print_json(runs)
    else:
        show(runs)
    if warning := drift(runs):
        typer.echo(warning, err=True)
    raise typer.Exit(NO if any(run.refused for run in runs) else 0)


def measure(folder: Folder, console: Console, *, seconds: int, clients: int) -> list[BenchRun]:
    """All measurements, one after the other; raises CannotBench and what the bank raises."""
    running = state.ready(folder.state)
    if running is None:
        raise CannotBench(f"no bank is up in {folder.root}: start it with ./cbs up")
    if running.external:
        raise CannotBench("servers of your own are measured by their own means: use the bank's")
    name = f"bench-{uuid.uuid4().hex[:12]}"
    console.print(f"opening {measured_bank.ACCOUNTS} accounts")
    accounts = asyncio.run(measured_bank.accounts(folder, name))
    token = folder.token(measured_bank.USER).read_text().strip()
    http = load.Job(
        name=name,
        clients=clients,
        seconds=seconds,
        token=token,
        accounts=accounts,
        http_url=running.edge_url,
    )
    user = next(each for each in SERVICES if load.POST in declaration_of(each).calls)
    bus = msgspec.structs.replace(
        http,
        http_url="",
        nats_url=running.nats_url,
        nkey_file=str(secrets.nkey_seed(folder, user)),
        nats_user=user,
    )
    jobs = {
        "HTTP transfers": http,
        "two hot accounts": msgspec.structs.replace(http, accounts=accounts[:2]),
        "NATS postings": bus,
    }
    passfile = secrets.pgpass(folder, ADMIN)
    runs = []
    with tpcb.scratch(running.postgres_url, passfile) as url:
        before = _tpcb("TPC-B before", url, passfile, running, console, seconds)
        for number, (title, job) in enumerate(jobs.items()):
            console.print(f"{title}: {clients} clients, {seconds} s")
            warm_up = msgspec.structs.replace(job, name=f"{name}-{number}w")
            measured_bank.run_load(msgspec.structs.replace(warm_up, seconds=WARM_UP_SECONDS))
            job = msgspec.structs.replace(job, name=f"{name}-{number}")
            runs.append(_measured(title, job, folder, running))
        after = _tpcb("TPC-B after", url, passfile, running, console, seconds)
    return compared(runs, before, after)


def _measured(title: str, job: load.Job, folder: Folder, running: BankState) -> BenchRun:
    before, batches_before = cpu_seconds(running), _batches(running)
    found = measured_bank.run_load(job)
    after, batches_after = cpu_seconds(running), _batches(running)
    if not found.requests:
        raise CannotBench(f"{title}: nothing was done, {found.refused}")
    now = state.read(folder.state)
    if now is None or [p.pid for p in now.programs] != [p.pid for p in running.programs]:
        raise CannotBench("a part of the bank was restarted while it was measured: see ./cbs logs")
    spent = {part: after[part] - before[part] for part in before} | {"load": found.cpu_seconds}
    count = batches_after["count"] - batches_before["count"]
    requests = batches_after["sum"] - batches_before["sum"]
    return BenchRun(
        name=title,
        clients=job.clients,
        requests=found.requests,
        refused=found.refused,
        per_second=round(found.requests / job.seconds, 1),
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        mean_batch=round(requests / count, 1) if count else 0,
        cpu_us={part: round(1e6 * seconds / found.requests) for part, seconds in spent.items()},
    )


def _batches(running: BankState) -> dict[str, float]:
    """How many batches the ledger has decided, and of how many orders together."""
    port = next(part.port for part in running.programs if part.name == "ledger")
    _, said = health.get(port, "/metrics", seconds=5)
    found = {name.decode(): float(value) for name, value in BATCHES.findall(said)}
    return {"sum": found.get("sum", 0), "count": found.get("count", 0)}


def _tpcb(
    title: str, url: str, passfile: Path, running: BankState, console: Console, seconds: int
) -> BenchRun:
    console.print(f"{title}: {tpcb.CLIENTS} clients, {seconds} s")
    before = cpu_seconds(running)["postgres"]
    rate, latency = tpcb.run(url, passfile, seconds=seconds)
    spent = cpu_seconds(running)["postgres"] - before
    requests = round(rate * seconds)
    return BenchRun(
        name=title,
        clients=tpcb.CLIENTS,
        requests=requests,
        per_second=round(rate, 1),
        mean_ms=round(latency, 3),
        cpu_us={"postgres": round(1e6 * spent / requests)},
    )
