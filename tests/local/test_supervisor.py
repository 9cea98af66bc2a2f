"""Programs are kept running, and ended when they are told to."""

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager

import pytest

from cbs.tools.local import program
from cbs.tools.local.process import CannotStart, mortal, started
from cbs.tools.local.program import Keeper, Program
from cbs.tools.local.supervisor import rotate

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def python(tmp_path, code, **more):
    log = tmp_path / "log"
    log.touch()

    async def ready():
        return "up" in log.read_text()

    return Program(
        name="it",
        argv=mortal([sys.executable, "-c", code]),
        env={},
        log=log,
        is_ready=ready,
        **more,
    )


@asynccontextmanager
async def kept(of, said, **more):
    keeper = Keeper(of, said.append, lambda: None, **more)
    keeping = asyncio.create_task(keeper.keep())
    try:
        async with asyncio.timeout(10):
            await keeper.ready.wait()
        yield keeper
    finally:
        await keeper.stop()
        await keeping


async def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def ready_again(keeper, restarts):
    await eventually(lambda: keeper.restarts == restarts and keeper.phase == "ready")


async def test_a_killed_program_is_started_again_each_time_after_a_longer_pause(tmp_path):
    said: list[str] = []
    async with kept(python(tmp_path, SLEEPS), said) as keeper:
        for restarts in (1, 2, 3):
            os.kill(keeper.pid, signal.SIGKILL)
            await ready_again(keeper, restarts)
    pauses = [line.rpartition("again in ")[2] for line in said]
    assert pauses == ["0.2 s", "0.4 s", "0.8 s"]
    assert keeper.phase == "stopped"


async def test_a_program_that_ran_for_long_starts_again_soon(tmp_path):
    said: list[str] = []
    async with kept(python(tmp_path, SLEEPS), said, steady_seconds=0) as keeper:
        for restarts in (1, 2):
            os.kill(keeper.pid, signal.SIGKILL)
            await ready_again(keeper, restarts)
    assert [line.rpartition("again in ")[2] for line in said] == ["0.2 s", "0.2 s"]


async def test_a_program_that_never_gets_ready_is_given_up_and_its_log_says_why(tmp_path):
    hopeless = python(tmp_path, "raise SystemExit('no disk')")
    keeper = Keeper(hopeless, lambda _: None, lambda: None)
    with pytest.raises(CannotStart, match="no disk"):
        await asyncio.wait_for(keeper.keep(), 10)
    assert keeper.restarts == program.START_TRIES_MAX - 1


async def test_a_program_that_ignores_the_request_to_end_is_killed(tmp_path):
    said: list[str] = []
    async with kept(python(tmp_path, STUBBORN, stop_seconds_max=0.2), said) as keeper:
        pid = keeper.pid
    assert started(pid) is None
    assert said == ["it does not end by itself: killed"]


async def test_what_a_program_started_ends_with_it(tmp_path):
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]);"
    code += "print('up', p.pid, flush=True); p.wait()"
    async with kept(python(tmp_path, code), []) as keeper:
        grandchild = int(keeper.program.log.read_text().split()[1])
        assert started(grandchild)
    await eventually(lambda: started(grandchild) is None)


def test_a_long_log_is_cut_while_its_writer_goes_on(tmp_path):
    log = tmp_path / "ledger.log"
    with log.open("ab", buffering=0) as writer:
        for n in range(5):
            writer.write(f"{n}\n".encode())
            rotate(log, kept=3)
        writer.write(b"5\n")
    assert log.read_text() == "5\n"
    old = {path.name: path.read_text() for path in tmp_path.glob("ledger.log.*")}
    assert old == {"ledger.log.1": "4\n", "ledger.log.2": "3\n", "ledger.log.3": "2\n"}
