"""A program is kept running: started, watched until it is ready, started again when it dies."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.tools.local.explained import explained
from cbs.tools.local.process import CannotStart
from cbs.tools.local.waiting import until

START_TRIES_MAX = 3
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.2, 30.0
STEADY_SECONDS = 60.0
# Longer than any caller waits, and than any work at one go: of a part that has not said a word in
# this time nothing is to be hoped. Counted in probes, so that a supervisor which itself stood still
# does not take its own silence for theirs.
PATIENCE_SECONDS, PROBES_SILENT_MAX = 20.0, 4
TAIL_BYTES = 4000


async def nothing() -> None:
    return None


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all of it side by side; the first failure ends the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to know that it is ready. `before` runs ahead of every start.

    `answers` says whether it does anything within so many seconds; one that hangs is replaced, or,
    where `replaced_if_hung` is not set, only told of.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str]
    log: Path
    is_ready: Callable[[], Awaitable[bool]]
    before: Callable[[], Awaitable[None]] = nothing
    answers: Callable[[float], Awaitable[bool]] | None = None
    replaced_if_hung: bool = True
    port: int = 0
    stop: signal.Signals = signal.SIGTERM
    advice: str = ""
    stop_seconds_max: float = 15
    start_seconds_max: float = 120


@dataclass(slots=True)
class Keeper:
    """Keeps one program running until told to stop; `phase` and the counts are for people."""

    program: Program
    say: Callable[[str], None]
    changed: Callable[[], None]
    steady_seconds: float = STEADY_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    phase: str = "waiting"
    pid: int = 0
    started_at: float = 0
    restarts: int = 0
    last_exit: int | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _why: str = ""
    _process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Returns when stopped; raises CannotStart if it keeps failing before it is ever ready."""
        was_ready, failures = False, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            await self._run_once()
            if self._stopping.is_set():
                break
            was_ready = was_ready or self.ready.is_set()
            steady = time.monotonic() - began >= self.steady_seconds
            failures = 1 if steady else failures + 1
            if not was_ready and failures >= START_TRIES_MAX:
                self._enter("failed")
                why = self._why or tail(self.program.log)
                raise CannotStart(f"{self.program.name} does not start:\n{why}\n{self._next}")
            self.ready.clear()
            pause = min(PAUSE_SECONDS * 2 ** (failures - 1), PAUSE_SECONDS_MAX)
            self.say(f"{self.program.name} ended (exit {self.last_exit}), again in {pause:.1f} s")
            self._enter("restarting")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            self.restarts += 1
        self._enter("stopped")

    async def stop(self) -> None:
        """Ask it to end, and make it end when it does not; returns when it is gone."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process, self.program.stop)
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_seconds_max)
        except TimeoutError:
            self.say(f"{self.program.name} does not end by itself: killed")
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """Now, with all that it started."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _run_once(self) -> None:
        self._enter("starting")
        try:
            await self.program.before()
            self._process = process = await _spawn(self.program)
        except OSError as error:
            self._why, self.last_exit = explained(error), None
            return
        self.pid, self.started_at = process.pid, time.time()
        self.changed()
        if self._stopping.is_set():  # told to stop while it was being started
            self.kill()
        watch = asyncio.create_task(self._watch())
        try:
            self.last_exit = await process.wait()
        finally:
            watch.cancel()
            self.pid = 0
            # Its own children, if it left any behind.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        if not await until(self.program.is_ready, seconds=self.program.start_seconds_max):
            self._end("is not ready after so long")
            return
        self._enter("ready")
        self.ready.set()
        while self.program.answers is not None:
            await self._heard(self.program.answers, False)
            silent = f"has not answered for {self.patience_seconds:g} s"
            if self.program.replaced_if_hung:
                self._end(silent)
                return
            self.say(f"{self.program.name} {silent}, and is left as it is\n{self._next}")
            self._enter("hung")
            await self._heard(self.program.answers, True)
            self.say(f"{self.program.name} answers again")
            self._enter("ready")

    async def _heard(self, answers: Callable[[float], Awaitable[bool]], wanted: bool) -> None:
        """Returns when it answers, or, if not `wanted`, when it has been silent for too long."""
        seconds, silent = self.patience_seconds / PROBES_SILENT_MAX, 0
        while True:
            answered, _ = await asyncio.gather(answers(seconds), asyncio.sleep(seconds))
            # While it is stopping it is right to be silent.
            silent = 0 if answered or self._stopping.is_set() else silent + 1
            if answered if wanted else silent == PROBES_SILENT_MAX:
                return

    def _end(self, why: str) -> None:
        self.say(f"{self.program.name} {why}: killed")
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def _next(self) -> str:
        return f"next: {self.program.advice or f'see {self.program.log}'}"

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self.changed()


async def _spawn(program: Program) -> asyncio.subprocess.Process:
    # A session of its own: Ctrl-C reaches the supervisor alone, which stops all in order.
    log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *program.argv,
            env=dict(program.env),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


async def run_to_end(program: Program) -> None:
    """Run a program that ends by itself; raises CannotStart unless it exits 0."""
    process = await _spawn(program)
    try:
        code = await asyncio.wait_for(process.wait(), program.start_seconds_max)
    except TimeoutError:
        raise CannotStart(_said(program, "takes too long")) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if code != 0:
        raise CannotStart(_said(program, f"failed (exit {code})"))


def _said(program: Program, how: str) -> str:
    return f"{program.name} {how}:\n{tail(program.log)}\nnext: see {program.log}"


def tail(log: Path) -> str:
    """The end of a log, to say why."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").rstrip()
