"""What may grow under load, looked at from outside: memory, queues, what listeners have yet to
hear, and the disk."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from operator import not_
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.platform.invariants import CannotSay
from cbs.tools.lab.usage import children_of, memory_mib
from cbs.tools.local import health, state
from cbs.tools.local.folder import Folder
from cbs.tools.local.state import BankState
from cbs.tools.local.waiting import until
from cbs.tools.ops.verify.snapshots import HEAD, READ_ONLY
from cbs.tools.ops.verify.verify import places_of

CONNECT_SECONDS_MAX, STATEMENT_SECONDS_MAX, REST_POLL_SECONDS = 10.0, 10.0, 0.1
WATERMARKS = "SELECT source, position FROM watermark"
SIZE = "SELECT pg_database_size(current_database())"
LETTERS = "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Sample(msgspec.Struct, kw_only=True):
    """One look at a bank. `behind`: facts that a listener has yet to hear, by `listener source`.

    `queues` are named `service queue`; a service that did not say is missing. `memory_mib` is
    anonymous memory, which is what leaks: of what is shared or read from files it says nothing.
    """

    at_seconds: float = 0
    memory_mib: dict[str, float] = {}
    queues: dict[str, int] = {}
    behind: dict[str, int] = {}
    facts: int = 0
    dead_letters: int = 0
    disk_mib: float = 0
    restarts: int = 0

    @property
    def waiting(self) -> dict[str, int]:
        """What has to be done before the bank is at rest."""
        return {name: depth for name, depth in (self.queues | self.behind).items() if depth}


@dataclass(slots=True, kw_only=True)
class Observer:
    """Looks at the bank that is up in `folder`. It keeps a connection to each database."""

    folder: Folder
    _databases: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def of(cls, folder: Folder) -> AsyncIterator["Observer"]:
        """Raises CannotSay where a database cannot be read."""
        observer = cls(folder=folder)
        async with AsyncExitStack() as stack:
            for service, place in places_of(folder).items():
                try:
                    connection = await asyncpg.connect(
                        place.url,
                        passfile=place.passfile,
                        timeout=CONNECT_SECONDS_MAX,
                        command_timeout=STATEMENT_SECONDS_MAX,
                        server_settings=READ_ONLY,
                    )
                except LOST as error:
                    raise CannotSay(f"the database of {service} cannot be read: {error}") from error
                observer._databases[service] = connection
                stack.push_async_callback(connection.close)
            yield observer

    async def look(self, at_seconds: float = 0, *, disk: bool = False) -> Sample:
        """Raises CannotSay when there is no bank any more."""
        running = state.read(self.folder.state)
        if running is None:
            raise CannotSay(f"no bank is up in {self.folder.root}")
        sample = Sample(at_seconds=round(at_seconds, 1))
        sample.restarts = sum(part.restarts for part in running.programs)
        queues = asyncio.to_thread(_queues, running)
        memory = asyncio.to_thread(_memory_mib, running)
        try:
            sample.behind, sample.facts = await self._behind()
            for connection in self._databases.values():
                sample.dead_letters += await connection.fetchval(LETTERS)
            if disk:
                sample.disk_mib = await self._disk_mib()
        except LOST as error:
            raise CannotSay(f"a database went away: {error!r}") from error
        sample.queues, sample.memory_mib = await asyncio.gather(queues, memory)
        return sample

    async def at_rest(self, seconds_max: float) -> dict[str, int]:
        """What still waits when nothing does, or when it took too long."""

        async def waiting() -> dict[str, int]:
            return (await self.look()).waiting

        return await until(waiting, done=not_, seconds=seconds_max, every=REST_POLL_SECONDS)

    async def _behind(self) -> tuple[dict[str, int], int]:
        """The listeners first, so that a source that goes on makes them look late, never early."""
        heard = {
            (service, row["source"]): row["position"]
            for service in SERVICES
            for row in await self._databases[service].fetch(WATERMARKS)
        }
        heads = {name: await self._databases[name].fetchval(HEAD) for name in SERVICES}
        behind = {
            f"{service} hears {source}": heads[source] - heard.get((service, source), 0)
            for service in SERVICES
            for source in declaration_of(service).hears
        }
        return behind, sum(heads.values())

    async def _disk_mib(self) -> float:
        size = await asyncio.to_thread(_bytes_under, self.folder["nats"])
        for connection in self._databases.values():
            size += int(await connection.fetchval(SIZE))
        return round(size / 2**20, 1)


def _queues(running: BankState) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in running.programs:
        if part.name in SERVICES:
            _, said = health.readiness(part.port)
            queues = said.get("queues", {})
            found |= {f"{part.name} {queue}": depth for queue, depth in queues.items()}
    return found


def _memory_mib(running: BankState) -> dict[str, float]:
    return {
        part.name: round(
            sum(memory_mib(pid, "RssAnon") for pid in (part.pid, *children_of(part.pid))), 1
        )
        for part in running.programs
    }


def _bytes_under(folder: Path) -> int:
    found = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found += os.stat(os.path.join(root, name)).st_size
    return found
