"""The nemesis does to a bank what was planned, and puts right what does not mend by itself."""

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from cbs.tools.lab.chaos.disks import disks_of
from cbs.tools.lab.chaos.faults import (
    CLOCK,
    CUT,
    FULL,
    KILL,
    LOSE,
    SEVER,
    SLOW,
    STALL,
    STOP,
    UNSAID,
    PlannedFault,
)
from cbs.tools.lab.chaos.target_bank import TargetBank
from cbs.tools.lab.usage import children_of
from cbs.tools.local import databases, secrets, state
from cbs.tools.local.databases import connected
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import ADMIN, with_database
from cbs.tools.local.process import started
from cbs.tools.local.waiting import until

STARTED_SECONDS_MAX, POLL_SECONDS = 60.0, 0.02
STORE = "store"
CONNECTIONS_OF = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
CONNECT_SECONDS_MAX = 5.0
COMMIT_SECONDS_MAX, SLOW_FOR_SECONDS, MOVED_FOR_SECONDS = 5.0, 5.0, 5.0
NO_DISKS = "only root can have disks to fill, where it may mount"


class CannotBreak(RuntimeError):
    """A part was not there to be broken for longer than it should take to start."""


@dataclass(slots=True, kw_only=True)
class Nemesis:
    """Does faults to a bank; `done` counts them as `kill ledger`, `untried` says of kinds why."""

    target: TargetBank
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    untried: dict[str, str] = field(default_factory=dict)
    _lasting: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def folder(self) -> Folder:
        return self.target.folder

    async def __call__(self, fault: PlannedFault) -> None:
        """Returns when it is done, or when it has begun if it lasts. Raises CannotBreak."""
        await asyncio.sleep(fault.after_seconds)
        at_once = {KILL: self._kill, LOSE: self._lose, CUT: self._cut}
        lasting = {STOP: self._stop, FULL: self._full, UNSAID: self._unsaid, CLOCK: self._clock}
        if fault.kind in at_once:
            await at_once[fault.kind](fault.part)
            self._did(fault)
        else:
            work = lasting.get(fault.kind, self._between)
            self._lasting.add(asyncio.create_task(work(fault)))

    async def ended(self) -> None:
        """Returns when nothing is kept from working any more, and is being restarted if killed."""
        try:
            await asyncio.gather(*self._lasting)
        finally:
            for task in self._lasting:
                task.cancel()
            await asyncio.gather(*self._lasting, return_exceptions=True)
            self._lasting.clear()

    def _did(self, fault: PlannedFault) -> None:
        self.done[f"{fault.kind} {fault.part}"] += 1
        self.say(f"{fault.kind} {fault.part} {fault.measure or ''}")
        # Beside the evidence, for who looks for the cause.
        with (self.folder.root.parent / "faults.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {tuple(fault)}\n")

    async def _kill(self, part: str) -> None:
        _send(await self._pid(part), signal.SIGKILL)

    async def _between(self, fault: PlannedFault) -> None:
        """Reset connections, let nothing through, or slow it all down."""
        links = self.target.links
        link = links.by_name[fault.part]
        change, bad, good, seconds = {
            SEVER: (link.sever, True, False, fault.measure),
            STALL: (link.stall, True, False, fault.measure),
            SLOW: (link.slow, fault.measure, 0, SLOW_FOR_SECONDS),
        }[fault.kind]
        links.set(change, bad)
        self._did(fault)
        try:
            await asyncio.sleep(seconds)
        finally:
            links.set(change, good)

    async def _unsaid(self, fault: PlannedFault) -> None:
        """Lose the answer of the next COMMIT, if there is one soon."""
        links = self.target.links
        link = links.by_name[f"{fault.part} postgres"]
        before = link.commits_taken

        async def is_taken() -> bool:
            return link.commits_taken > before

        links.set(link.take_commit, True)
        try:
            if await until(is_taken, seconds=COMMIT_SECONDS_MAX, every=POLL_SECONDS):
                self._did(fault)
        finally:
            links.set(link.take_commit, False)

    async def _clock(self, fault: PlannedFault) -> None:
        clocks = self.target.clocks
        clocks.move(fault.part, fault.measure)
        self._did(fault)
        try:
            await asyncio.sleep(MOVED_FOR_SECONDS)
        finally:
            clocks.move(fault.part, 0)

    async def _full(self, fault: PlannedFault) -> None:
        disk = disks_of(self.folder.root)[fault.part]
        if not disk.is_mounted:
            self.untried[FULL] = NO_DISKS
            return
        try:
            await asyncio.to_thread(disk.fill)
            self._did(fault)
            await asyncio.sleep(fault.measure)
        finally:
            disk.empty()

    @property
    def kills(self) -> int:
        return sum(n for what, n in self.done.items() if what.startswith((KILL, LOSE)))

    async def _pid(self, part: str) -> int:
        async def living() -> int:
            running = state.read(self.folder.state)
            pids = [each.pid for each in running.programs if each.name == part] if running else []
            return next((pid for pid in pids if pid and started(pid)), 0)

        if pid := await until(living, seconds=STARTED_SECONDS_MAX, every=POLL_SECONDS):
            return pid
        raise CannotBreak(f"{part} did not come back in {STARTED_SECONDS_MAX:.0f} s")

    async def _stop(self, fault: PlannedFault) -> None:
        """Let a part stand still, holding all it holds, and go on as if nothing had been."""
        pid = await self._pid(fault.part)
        _send(pid, signal.SIGSTOP)
        # The first stands still, so it starts no more of them.
        stopped = {each: started(each) for each in (pid, *children_of(pid))}
        for child in stopped:
            _send(child, signal.SIGSTOP)
        self._did(fault)
        try:
            await asyncio.sleep(fault.measure)
        finally:
            for each, identity in stopped.items():
                if identity is not None and started(each) == identity:
                    _send(each, signal.SIGCONT)

    async def _lose(self, part: str) -> None:
        """Kill NATS, and remove all its streams before it is started again."""
        pid = await self._pid(part)
        running = state.read(self.folder.state)
        assert running is not None
        # The supervisor waits meanwhile: or a new server might have opened what is removed.
        os.kill(running.pid, signal.SIGSTOP)
        try:
            _send(pid, signal.SIGKILL)
            await _gone(pid)
            lost = self._set_apart()
        finally:
            os.kill(running.pid, signal.SIGCONT)
        await asyncio.to_thread(shutil.rmtree, lost)

    async def _cut(self, service: str) -> None:
        """Have the server end all of a service's connections, whatever they are doing."""
        why = ""

        async def is_cut() -> bool:
            nonlocal why
            try:
                await self._end_connections(databases.runtime_of(service))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                why = str(error)
                return False
            return True

        if not await until(is_cut, seconds=STARTED_SECONDS_MAX, every=POLL_SECONDS):
            raise CannotBreak(f"postgres does not answer: {why}")

    async def _end_connections(self, role: str) -> None:
        running = state.read(self.folder.state)
        assert running is not None
        async with connected(
            with_database(running.postgres_url, "postgres", ADMIN),
            passfile=secrets.pgpass(self.folder, ADMIN),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=CONNECT_SECONDS_MAX,
        ) as connection:
            await connection.fetchval(CONNECTIONS_OF, role)

    def _set_apart(self) -> Path:
        store = self.folder["nats"] / STORE
        return store.rename(store.with_name(f"{STORE}-lost-{self.kills}"))


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself at this very moment, which is no less of a fault


async def _gone(pid: int) -> None:
    async def is_gone() -> bool:
        return started(pid) is None

    await until(is_gone, seconds=STARTED_SECONDS_MAX, every=POLL_SECONDS)
