"""The supervisor starts the parts of a bank in order, keeps them up, and leaves none behind."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from cbs.tools.local import state
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import CannotStart, started
from cbs.tools.local.program import PATIENCE_SECONDS, Keeper, Program, nothing, together
from cbs.tools.local.state import BankState, ProgramState

STILL_WAITING_SECONDS = 5.0
TICK_SECONDS = 0.25
LOG_BYTES_MAX, LOGS_KEPT = 20 << 20, 3


class Stopped(Exception):
    """Somebody asked the bank to stop while it was still starting."""


@dataclass(slots=True)
class Supervisor:
    """`tick` runs every TICK_SECONDS, for what has to be looked at now and then; `leave` runs
    before anything is stopped.
    """

    folder: Folder
    console: Console
    state: BankState
    tick: Callable[[], None] = lambda: None
    leave: Callable[[], Awaitable[None]] = nothing
    steady_seconds: float = 60
    patience_seconds: float = PATIENCE_SECONDS
    _untold: bool = False
    _stages: list[list[Keeper]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, folder: Folder, console: Console) -> "Supervisor":
        pid = os.getpid()
        identity = started(pid) or ""
        return cls(
            folder,
            console,
            BankState(pid=pid, identity=identity, phase="starting", since=time.time()),
        )

    async def run(self, bring_up: Callable[["Supervisor"], Awaitable[None]]) -> None:
        """Bring the bank up, keep it up until told to stop, bring it down; raises CannotStart."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._told_to_stop)
        ticking = asyncio.create_task(self._tick())
        try:
            await self._or_stopped(asyncio.ensure_future(bring_up(self)))
            self.state.phase = "ready"
            self.write_state()
            await self._until_told_to_stop(ticking)
        except Stopped:
            self.say("stopped while starting")
        finally:
            await self._bring_down()
            ticking.cancel()

    async def _until_told_to_stop(self, ticking: asyncio.Task[None]) -> None:
        stop = asyncio.create_task(self._stop.wait())
        watched: set[asyncio.Task[Any]] = {stop, ticking, *self._tasks}
        ended, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in ended - {stop}:
            task.result()  # a keeper ends only when told to, unless it has a bug: say so

    async def start(self, *programs: Program) -> None:
        """Start programs side by side, and return when every one is ready."""
        stage = [
            Keeper(program, self.say, self.write_state, self.steady_seconds, self.patience_seconds)
            for program in programs
        ]
        self._stages.append(stage)
        await together(*(self._started(keeper) for keeper in stage))

    async def _started(self, keeper: Keeper) -> None:
        async def ready() -> None:
            keeping = asyncio.create_task(keeper.keep())
            self._tasks.add(keeping)
            waiting = asyncio.create_task(keeper.ready.wait())
            await asyncio.wait({keeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if keeping.done():
                keeping.result()

        await self.waiting(keeper.program.name, ready())

    async def waiting(self, what: str, work: Awaitable[object]) -> None:
        """Do something that takes a while, telling how it goes."""
        began = time.monotonic()
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=STILL_WAITING_SECONDS))[0]:
                self.say(f"  … {what} ({time.monotonic() - began:.0f} s)")
        finally:
            task.cancel()
        await task
        self.say(f"  ✓ {what} ({time.monotonic() - began:.1f} s)")

    def say(self, text: str) -> None:
        """Tell whoever watches, and the supervisor's log."""
        with suppress(OSError):  # nobody need be watching any more
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._unless_starting(), self._log() as file:
            file.write("".join(f"{stamp} {line}\n" for line in text.splitlines()))

    def _log(self) -> IO[str]:
        path = self.folder.log("supervisor")
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")

    @contextmanager
    def _unless_starting(self) -> Iterator[None]:
        """A bank does not start where nothing can be told of it, but goes on on a full disk."""
        try:
            yield
        except OSError:
            if self.state.phase == "starting":
                raise

    def write_state(self) -> None:
        self._untold = True
        self.state.programs = [
            ProgramState(
                name=keeper.program.name,
                phase=keeper.phase,
                pid=keeper.pid,
                port=keeper.program.port,
                started_at=keeper.started_at,
                restarts=keeper.restarts,
                last_exit=keeper.last_exit,
            )
            for stage in self._stages
            for keeper in stage
        ]
        with self._unless_starting():
            state.write(self.folder.state, self.state)
            self._untold = False

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self.say("told twice: killing what is left")
            for keeper in (keeper for stage in self._stages for keeper in stage):
                keeper.kill()
        self._stop.set()

    async def _or_stopped(self, work: "asyncio.Future[None]") -> None:
        stop = asyncio.create_task(self._stop.wait())
        both: tuple[asyncio.Future[Any], ...] = (work, stop)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError, CannotStart):
                await work
            raise Stopped
        work.result()

    async def _bring_down(self) -> None:
        self.state.phase = "stopping"
        self.write_state()
        self.say("stopping")
        await self.leave()
        for stage in reversed(self._stages):
            await asyncio.gather(*(keeper.stop() for keeper in stage))
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.folder.state.unlink(missing_ok=True)
        self.say("stopped: nothing is left running")

    async def _tick(self) -> None:
        while True:
            with self._unless_starting():
                self.tick()
                if self._untold:
                    self.write_state()
                for log in self.folder["logs"].glob("*.log"):
                    if log.stat().st_size > LOG_BYTES_MAX:
                        rotate(log)
            await asyncio.sleep(TICK_SECONDS)


def rotate(log: Path, kept: int = LOGS_KEPT) -> None:
    """Copy and cut: the writer appends and keeps its file open, so it notices nothing.

    What it writes between the two is lost; a pipe through the supervisor would lose none, but
    a supervisor that stands still would then stop the bank.
    """
    for n in range(kept - 1, 0, -1):
        with suppress(FileNotFoundError):
            log.with_suffix(f".log.{n}").rename(log.with_suffix(f".log.{n + 1}"))
    first = log.with_suffix(".log.1")
    first.touch(mode=0o600)
    first.write_bytes(log.read_bytes())
    os.truncate(log, 0)
