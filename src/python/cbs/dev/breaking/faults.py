"""Faults come from a seed, round by round, so that every part has its share of them.

A round kills every part once, in a random order at random moments, cuts one service off its
database, perhaps while it commits, and does one worse thing.
"""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import asyncpg

from cbs.dev.folder import SERVICES, Folder
from cbs.dev.running import databases, secrets, state
from cbs.dev.running.postgres import ADMIN, with_database
from cbs.dev.running.process import started

Kind = Literal["kill", "cut", "stop", "lose"]

KILL: Kind = "kill"
CUT: Kind = "cut"
STOP: Kind = "stop"
LOSE: Kind = "lose"
PARTS = (*SERVICES, "nats", "edge", "postgres")
PAUSE_SECONDS = (0.5, 4.0)
# Longer than every timeout: a request has 20 s at the client, a statement 20 s, a lease 12 s.
STOPPED_SECONDS = 22.0
STARTED_SECONDS_MAX, POLL_SECONDS = 60.0, 0.02
STORE = "store"
CONNECTIONS_OF = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
CONNECT_SECONDS_MAX = 5.0


class CannotBreak(RuntimeError):
    """A part was not there to be broken for longer than it should take to start."""


class Fault(NamedTuple):
    after_seconds: float
    kind: Kind
    part: str


def rounds(seed: int) -> Iterator[list[Fault]]:
    """Endlessly: stopping a part and losing NATS's data take turns as the worse thing."""
    random = Random(f"faults-{seed}")
    stops = bool(seed % 2)
    while True:
        faults = [(KILL, part) for part in random.sample(PARTS, len(PARTS))]
        worse = (STOP, random.choice(PARTS)) if stops else (LOSE, "nats")
        for more in (worse, (CUT, random.choice(SERVICES))):
            faults.insert(random.randrange(len(faults)), more)
        stops = not stops
        yield [Fault(random.uniform(*PAUSE_SECONDS), kind, part) for kind, part in faults]


@dataclass(slots=True, kw_only=True)
class Saboteur:
    """Does faults to the bank in `folder`; `done` counts them as `kill ledger`."""

    folder: Folder
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    _stopped: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self, fault: Fault) -> None:
        """Raises CannotBreak."""
        await asyncio.sleep(fault.after_seconds)
        pid = await self._pid(fault.part)
        if fault.kind == STOP:
            self._stopped.add(asyncio.create_task(self._stop(pid)))
        elif fault.kind == LOSE:
            await self._lose(pid)
        elif fault.kind == CUT:
            await self._cut(fault.part)
        else:
            _send(pid, signal.SIGKILL)
        self.done[f"{fault.kind} {fault.part}"] += 1
        self.say(f"{fault.kind} {fault.part}")

    async def ended(self) -> None:
        """Returns when nothing stands still any more; all that was killed is being restarted."""
        await asyncio.gather(*self._stopped)
        self._stopped.clear()

    @property
    def kills(self) -> int:
        return sum(n for what, n in self.done.items() if what.startswith((KILL, LOSE)))

    async def _pid(self, part: str) -> int:
        deadline = asyncio.get_running_loop().time() + STARTED_SECONDS_MAX
        while True:
            running = state.read(self.folder.state)
            for program in running.programs if running else ():
                if program.name == part and program.pid and started(program.pid):
                    return program.pid
            if asyncio.get_running_loop().time() > deadline:
                raise CannotBreak(f"{part} did not come back in {STARTED_SECONDS_MAX:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _stop(self, pid: int) -> None:
        """Let a part stand still, holding all it holds, and go on as if nothing had been."""
        _send(pid, signal.SIGSTOP)
        # The first stands still, so it starts no more of them.
        stopped = {each: started(each) for each in (pid, *_children(pid))}
        for child in stopped:
            _send(child, signal.SIGSTOP)
        try:
            await asyncio.sleep(STOPPED_SECONDS)
        finally:
            for each, identity in stopped.items():
                if identity is not None and started(each) == identity:
                    _send(each, signal.SIGCONT)

    async def _lose(self, pid: int) -> None:
        """Kill NATS, and remove all its streams before it is started again."""
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
        deadline = asyncio.get_running_loop().time() + STARTED_SECONDS_MAX
        while True:
            try:
                await self._end_connections(databases.runtime_of(service))
                return
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise CannotBreak(f"postgres does not answer: {error}") from error
            await asyncio.sleep(POLL_SECONDS)

    async def _end_connections(self, role: str) -> None:
        running = state.read(self.folder.state)
        assert running is not None
        connection = await asyncpg.connect(
            with_database(running.postgres_url, "postgres", ADMIN),
            passfile=secrets.pgpass(self.folder, ADMIN),
            timeout=CONNECT_SECONDS_MAX,
        )
        try:
            await connection.execute("SET statement_timeout = '5s'")
            await connection.fetchval(CONNECTIONS_OF, role)
        finally:
            await connection.close(timeout=CONNECT_SECONDS_MAX)

    def _set_apart(self) -> Path:
        store = self.folder["nats"] / STORE
        return store.rename(store.with_name(f"{STORE}-lost-{self.kills}"))


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces; the state and the parent follow it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone by now
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself at this very moment, which is no less of a fault


async def _gone(pid: int) -> None:
    while True:
        if started(pid) is None:
            return
        await asyncio.sleep(POLL_SECONDS)
