"""pgbench's TPC-B on the bank's own PostgreSQL: what this machine is worth, to compare with."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cbs.tools.local.databases import connected, drop_database, in_own_loop
from cbs.tools.local.postgres import ADMIN, program, with_database
from cbs.tools.local.process import output_of

CLIENTS, THREADS, SCALE = 32, 2, 32
DATABASE = "cbs_bench_tpcb"
FILL_SECONDS_MAX, END_SECONDS_MAX = 600, 60
RATE, LATENCY = re.compile(r"^tps = ([0-9.]+)", re.M), re.compile(r"latency average = ([0-9.]+) ms")


@contextmanager
def scratch(postgres_url: str, passfile: Path) -> Iterator[str]:
    """The administrator's URL of a database of its own, filled, and dropped afterwards."""
    admin = with_database(postgres_url, "postgres", ADMIN)
    in_own_loop(lambda: drop_database(admin, DATABASE, passfile=passfile))
    in_own_loop(lambda: _execute(admin, passfile, f"CREATE DATABASE {DATABASE}"))
    try:
        url = with_database(postgres_url, DATABASE, ADMIN)
        _pgbench(["-i", "-q", "-s", str(SCALE), url], passfile, FILL_SECONDS_MAX)
        yield url
    finally:
        in_own_loop(lambda: drop_database(admin, DATABASE, passfile=passfile))


def run(url: str, passfile: Path, *, seconds: int) -> tuple[float, float]:
    """Transactions per second and their mean latency in milliseconds."""
    argv = ["-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds), "-n", url]
    said = _pgbench(argv, passfile, seconds + END_SECONDS_MAX)
    rate, latency = RATE.search(said), LATENCY.search(said)
    assert rate and latency, said
    return float(rate[1]), float(latency[1])


def _pgbench(argv: list[str], passfile: Path, seconds_max: int) -> str:
    """Raises OSError. The password is in the file alone."""
    password = {"PGPASSFILE": str(passfile)}
    return output_of([program("pgbench"), *argv], env=password, seconds_max=seconds_max)


async def _execute(url: str, passfile: Path, statement: str) -> None:
    async with connected(url, passfile=passfile) as connection:
        await connection.execute(statement)
