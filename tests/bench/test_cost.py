"""What a request costs, and what TPC-B says of the machine."""

import os
import subprocess
import sys
import time

import asyncpg
import pytest

from cbs.tools.lab import usage
from cbs.tools.lab.bench import tpcb
from cbs.tools.lab.bench.figures import BenchRun, compared, drift, show
from cbs.tools.local.state import BankState, ProgramState

# Two children burn 0.3 s each, one gone and one living; the kernel counts in whole ticks.
BOTH_SECONDS = 0.5
BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
WITH_CHILDREN = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}])
argv = [sys.executable, "-c", {BURN + "input()"!r}]
child = subprocess.Popen(argv, stdin=subprocess.PIPE)
print("started", flush=True)
input()
child.communicate(b"end")
"""


def part(name: str, pid: int) -> ProgramState:
    return ProgramState(name=name, phase="ready", pid=pid, port=0, started_at=0, restarts=0)


def test_the_cpu_time_of_a_part_is_that_of_its_children_too():
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_CHILDREN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        running = BankState(pid=os.getpid(), identity="", phase="ready", since=0)
        running.programs = [part("busy", process.pid), part("gone", 2**22)]
        deadline = time.monotonic() + 30
        while usage.cpu_seconds(running)["busy"] < BOTH_SECONDS and time.monotonic() < deadline:
            time.sleep(0.05)
        found = usage.cpu_seconds(running)
    finally:
        process.communicate("x\n")

    assert set(found) == {"busy"}
    assert found["busy"] >= BOTH_SECONDS


async def test_tpcb_runs_beside_the_bank_and_leaves_nothing(postgres_server, tmp_path, monkeypatch):
    monkeypatch.setattr(tpcb, "SCALE", 1)
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)

    def run() -> tuple[float, float]:
        with tpcb.scratch(postgres_server, passfile) as url:
            return tpcb.run(url, passfile, seconds=1)

    rate, milliseconds = run()

    admin = await asyncpg.connect(postgres_server)
    left = await admin.fetch("SELECT FROM pg_database WHERE datname = $1", tpcb.DATABASE)
    await admin.close()
    assert rate > 0
    assert milliseconds > 0
    assert left == []


def test_the_table_names_every_run_and_every_part(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    show(
        [
            BenchRun(
                name="HTTP",
                clients=64,
                per_second=2000,
                ratio=0.8,
                p50_ms=20.5,
                p99_ms=60.1,
                mean_batch=13.2,
                cpu_us={"ledger": 100, "edge": 50},
            ),
            BenchRun(
                name="TPC-B", clients=32, per_second=2500, mean_ms=12.8, cpu_us={"postgres": 350}
            ),
        ]
    )

    said = capsys.readouterr().out
    for text in ("HTTP", "2,000", "0.80", "20.5", "60.1", "13.2", "150", "TPC-B", "12.8", "350"):
        assert text in said, text


def tpcb_at(per_second: float) -> BenchRun:
    return BenchRun(name="TPC-B", clients=32, per_second=per_second)


def test_ratios_are_to_the_mean_of_what_the_machine_did_before_and_after():
    runs = compared(
        [BenchRun(name="HTTP", clients=64, per_second=1500)], tpcb_at(2900), tpcb_at(3100)
    )

    assert [run.ratio for run in runs] == [0.97, 0.5, 1.03]
    assert drift(runs) == ""


def test_a_machine_that_was_not_steady_is_told():
    runs = compared(
        [BenchRun(name="HTTP", clients=64, per_second=1500)], tpcb_at(3100), tpcb_at(2000)
    )

    assert "3,100 a second before, 2,000 after" in drift(runs)
