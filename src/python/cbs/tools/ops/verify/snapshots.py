"""All databases of a bank that is working are read at moments that can be compared.

A service that hears another is read after it, and not before it has heard all that the other's
snapshot holds: the fence. Whatever it then lacks of that, it will always lack.
"""

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import asyncpg

from cbs.kernel.merkle import Tree
from cbs.platform.invariants import BATCH_ROWS, CannotSay, Row
from cbs.tools.local.waiting import until
from cbs.tools.ops.verify.point import Point

FENCE_SECONDS_MAX, POLL_SECONDS = 30.0, 0.1
CONNECT_SECONDS_MAX, STATEMENT_SECONDS_MAX = 10.0, 3_600.0
READ_ONLY = {"default_transaction_read_only": "on", "application_name": "cbs verify"}

HEAD = "SELECT position FROM outbox_head"
HEARD = "SELECT position FROM watermark WHERE source = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlace:
    """Where a service's database is, and the file with the password of who may read it."""

    url: str
    passfile: Path | None = None


@dataclass(slots=True, kw_only=True)
class Snapshots:
    """The databases of the services, each as of one moment. `hears` says who listens to whom, and
    `read_first` of whom else a service's snapshot is taken before another's.

    Each listener has `fence_seconds_max` to reach its fences. Facts are checked `since` a point.
    """

    places: Mapping[str, DatabasePlace]
    hears: Mapping[str, tuple[str, ...]]
    read_first: Mapping[str, Collection[str]] = field(default_factory=dict)
    fence_seconds_max: float = FENCE_SECONDS_MAX
    since: Point = field(default_factory=Point)
    heads: dict[str, int] = field(default_factory=dict)
    behind: dict[tuple[str, str], str] = field(default_factory=dict)
    _still: dict[str, Any] = field(default_factory=dict)
    _live: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def taken(self, say: Callable[[str], None]) -> AsyncIterator[None]:
        """Raises CannotSay where a database cannot be read. `heads` are the sources' fences, and
        `behind` says of which listener and source the fence was not reached, and why."""
        async with AsyncExitStack() as stack:
            for service in self._order():
                self._live[service] = await self._connected(service, stack)
            for service in self._order():
                await self._reach_fences(service, say)
                still = await self._connected(service, stack)
                snapshot = still.transaction(isolation="repeatable_read", readonly=True)
                await snapshot.start()
                stack.push_async_callback(_ended, snapshot)
                self._still[service] = still
                self.heads[service] = await still.fetchval(HEAD)
            yield

    def _order(self) -> list[str]:
        before = {
            service: {
                other
                for other in (*self.hears[service], *self.read_first.get(service, ()))
                if other in self.places and other != service
            }
            for service in self.places
        }
        return list(TopologicalSorter(before).static_order())

    async def _connected(self, service: str, stack: AsyncExitStack) -> Any:
        place = self.places[service]
        try:
            connection = await asyncpg.connect(
                place.url,
                passfile=place.passfile,
                timeout=CONNECT_SECONDS_MAX,
                command_timeout=STATEMENT_SECONDS_MAX,
                server_settings=READ_ONLY,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CannotSay(f"the database of {service} cannot be read: {error}") from error
        stack.push_async_callback(connection.close)
        return connection

    async def _reach_fences(self, service: str, say: Callable[[str], None]) -> None:
        deadline = time.monotonic() + self.fence_seconds_max
        for source in self.hears[service]:
            if source not in self.places:
                continue
            # Of itself a service has no earlier snapshot: what there is now is the fence.
            if source == service:
                self.heads[source] = await self._live[source].fetchval(HEAD)
            fence = self.heads[source]
            say(f"{service}: waiting until it has heard {fence} facts of {source}")
            if (heard := await self._heard(service, source, fence, deadline)) < fence:
                self.behind[service, source] = (
                    f"{service} has heard {heard} of {fence} facts of {source} after"
                    f" {self.fence_seconds_max:g} s: is it running? (./cbs status)"
                )

    async def _heard(self, service: str, source: str, fence: int, deadline: float) -> int:
        async def so_far() -> int:
            return await self._live[service].fetchval(HEARD, source) or 0

        seconds = deadline - time.monotonic()
        return await until(so_far, done=lambda n: n >= fence, seconds=seconds, every=POLL_SECONDS)

    def verified(self, service: str) -> int:
        return self.since.positions.get(service, 0)

    @property
    def verified_tree(self) -> Tree:
        return self.since.tree

    def must_have_heard(self, service: str, source: str) -> int:
        if (service, source) in self.behind:
            raise CannotSay(self.behind[service, source])
        return self.heads[source]

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[None]:
        """What is asked inside leaves no cursor open, and its failure spoils nothing after it."""
        async with AsyncExitStack() as stack:
            for still in self._still.values():
                point = still.transaction()
                await point.start()
                stack.push_async_callback(_ended, point)
            yield

    @property
    def services(self) -> Collection[str]:
        return self.places

    def __getitem__(self, service: str) -> Any:
        return self._still[service]

    async def rows(self, service: str, query: str, *values: Any) -> AsyncIterator[Row]:
        async for batch in self.batches(service, query, *values):
            for row in batch:
                yield row

    async def batches(self, service: str, query: str, *values: Any) -> AsyncIterator[list[Row]]:
        cursor = await self._still[service].cursor(query, *values)
        while batch := await cursor.fetch(BATCH_ROWS):
            yield batch

    async def now(self, service: str, query: str, *values: Any) -> list[Row]:
        rows: list[Row] = await self._live[service].fetch(query, *values)
        return rows


async def _ended(snapshot: Any) -> None:
    try:
        await snapshot.rollback()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return  # the server is gone, and the snapshot with it
