"""What hangs is replaced, and what is only slow is not: real servers that stand still."""

import asyncio
import os
import signal
import sys
import textwrap
import time

import pytest
from rich.console import Console

from cbs.tools.local import health
from cbs.tools.local.bank import LocalBank
from cbs.tools.local.parts import Parts
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.ports import choose
from cbs.tools.local.process import mortal
from cbs.tools.local.program import PROBES_SILENT_MAX, Program
from cbs.tools.local.supervisor import Supervisor
from tests.local.machine import machine_at, running_in
from tests.local.test_supervisor import eventually, kept

PATIENCE_SECONDS = 2.0
# Answers each connection after a pause, or hangs up.
SLOW = """
    import contextlib, socket, sys, threading, time

    def serve(client):
        time.sleep(float(sys.argv[2]))
        with contextlib.suppress(OSError):
            HANG_UP or client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
        client.close()

    server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        threading.Thread(target=serve, args=server.accept()[:1]).start()
"""


@pytest.fixture
def port():
    claim = choose(15000)
    yield claim.port
    claim.release()


def server(tmp_path, port, *, pause, hangs_up=False, **more):
    code = textwrap.dedent(SLOW).replace("HANG_UP", str(hangs_up))

    async def ready():
        return await health.answers("it", port, seconds=5)

    return Program(
        name="it",
        argv=mortal([sys.executable, "-c", code, str(port), str(pause)]),
        env={},
        log=tmp_path / "log",
        is_ready=ready,
        answers=lambda seconds: health.answers("it", port, seconds=seconds),
        port=port,
        **more,
    )


async def test_what_stands_still_is_killed_and_started_again(tmp_path, port):
    said: list[str] = []
    async with kept(server(tmp_path, port, pause=0), said, patience_seconds=1.0) as keeper:
        before = keeper.pid
        os.kill(before, signal.SIGSTOP)
        await eventually(lambda: keeper.restarts == 1 and keeper.phase == "ready")
        assert keeper.pid != before
    assert said[0] == "it has not answered for 1 s: killed"


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_what_is_slow_or_refuses_is_left_alone(tmp_path, port, hangs_up):
    """It answers late, and sometimes, as under load, for some time nobody."""
    patience = 2.0
    pause = 0.6 * patience / PROBES_SILENT_MAX
    said: list[str] = []
    program = server(tmp_path, port, pause=pause, hangs_up=hangs_up)
    async with kept(program, said, patience_seconds=patience) as keeper:
        before = keeper.pid
        for _ in range(3):  # a stall, shorter than patience
            os.kill(before, signal.SIGSTOP)
            await asyncio.sleep(patience / 3)
            os.kill(before, signal.SIGCONT)
            await asyncio.sleep(patience / 3)
        assert (keeper.pid, keeper.restarts, said) == (before, 0, [])


async def test_what_is_not_replaced_is_told_of_until_it_answers_again(tmp_path, port):
    said: list[str] = []
    program = server(tmp_path, port, pause=0, replaced_if_hung=False, advice="look at its disk")
    async with kept(program, said, patience_seconds=0.8) as keeper:
        os.kill(keeper.pid, signal.SIGSTOP)
        await eventually(lambda: keeper.phase == "hung")
        os.kill(keeper.pid, signal.SIGCONT)
        await eventually(lambda: keeper.phase == "ready")
        assert keeper.restarts == 0
    assert said == [
        "it has not answered for 0.8 s, and is left as it is\nnext: look at its disk",
        "it answers again",
    ]


async def test_a_supervisor_that_stood_still_itself_blames_nobody(tmp_path, port):
    said: list[str] = []
    program = server(tmp_path, port, pause=0)
    async with kept(program, said, patience_seconds=0.8) as keeper:
        for _ in range(2):
            await asyncio.sleep(0.3)
            time.sleep(2)  # noqa: ASYNC251  (its loop stands still, and not the server)
        await asyncio.sleep(0.3)
        assert (keeper.restarts, said) == (0, [])


async def test_every_part_of_a_bank_that_stands_still_is_replaced_but_postgres(tmp_path):
    with machine_at(tmp_path, 2) as machine:
        folder = machine.bank()
        supervisor = Supervisor.of(folder, Console(quiet=True))
        supervisor.patience_seconds = PATIENCE_SECONDS
        plan = StartPlan(dist=machine.dist)
        bank = LocalBank(parts=Parts.of(folder, plan), supervisor=supervisor)
        restarted: dict[str, int] = {}

        def programs():
            return {each.name: each for each in supervisor.state.programs}

        async def bring_up(_):
            await bank.bring_up()
            before = programs()
            for part in before.values():
                os.kill(part.pid, signal.SIGSTOP)
            await eventually(lambda: programs()["postgres"].phase == "hung")
            os.kill(before["postgres"].pid, signal.SIGCONT)
            await eventually(
                lambda: (
                    {name for name, each in programs().items() if each.restarts == 0}
                    == {"postgres"}
                    and {each.phase for each in programs().values()} == {"ready"}
                )
            )
            restarted.update({name: each.restarts for name, each in programs().items()})
            os.kill(os.getpid(), signal.SIGTERM)

        with folder.lock():
            try:
                await supervisor.run(bring_up)
            finally:
                folder.release_ports()
        assert restarted == {name: int(name != "postgres") for name in restarted}
        assert running_in(folder) == set()
