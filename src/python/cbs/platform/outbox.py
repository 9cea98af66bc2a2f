"""A fact leaves through the transaction that made it true, and in the order of commits.

The last statement before COMMIT takes the head's row lock, so positions follow commit order
without a gap; whoever reads them can tell what is missing. The bytes kept are the bytes published.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast
from uuid import UUID

import msgspec

from cbs.kernel.event import Event, Origin
from cbs.platform.context import current, new_id, now
from cbs.platform.database import UNREACHABLE, Database

FACTS_PAGE_MAX = 256


class CloudEvent(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """CloudEvents 1.0 in JSON. `position` is text: the standard's integers have 32 bits."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    actor: str
    onbehalfof: str = ""
    correlationid: str
    causationid: str = ""
    position: str
    data: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact as it is heard; `body` is what was published, byte for byte."""

    source: str
    position: int
    name: str
    event: CloudEvent
    body: bytes


_decoder = msgspec.json.Decoder(CloudEvent)
_encoder = msgspec.json.Encoder()


def fact_of(body: bytes) -> Fact:
    """Raises msgspec.ValidationError or ValueError for what is not a fact of ours."""
    event = _decoder.decode(body)
    cbs, service, name = event.type.split(".")
    if cbs != "cbs":
        raise ValueError(f"not a fact of this bank: {event.type}")
    return Fact(source=service, position=int(event.position), name=name, event=event, body=body)


# A row of the outbox: position, id, subject, time and body.
OutboxRow = tuple[int, UUID, str, datetime, bytes]
# Position, subject and body.
StoredFact = tuple[int, str, bytes]


class RelayTurn(Protocol):
    """What the one relay of a service does while it is the one."""

    async def unpublished(self, *, limit: int) -> Sequence[StoredFact]:
        """The next facts to publish, in order."""
        ...

    async def published(self, position: int) -> None:
        """All up to this position are; one lower than before changes nothing."""
        ...


class Outbox(ABC):
    """`written` is set when there may be something to publish; what is not among the facts that
    the service `publishes` does not leave, and its transaction fails.

    No dataclass: litestar hands one to a handler only if it is of that very class.
    """

    def __init__(self, *, service: str, publishes: Collection[str]) -> None:
        self.service, self.publishes, self.written = service, publishes, asyncio.Event()

    @abstractmethod
    async def next_positions(self, count: int) -> int:
        """Take so many for the caller's transaction; returns the last of them.

        Whoever else wants some waits for its end, so that the order is that of commits; what is
        undone leaves no gap.
        """

    @abstractmethod
    async def keep(self, rows: Sequence[OutboxRow]) -> None:
        """In the caller's transaction."""

    @abstractmethod
    async def after(self, position: int, *, limit: int) -> list[StoredFact]:
        """The facts that follow, in order, at most FACTS_PAGE_MAX."""

    @abstractmethod
    async def head(self) -> int:
        """The last position."""

    @abstractmethod
    async def waiting(self) -> int:
        """How many facts are not published yet."""

    @abstractmethod
    def turn(self) -> AbstractAsyncContextManager[RelayTurn | None]:
        """None while another relay of this service has it; a turn ends with its connection."""

    async def put(self, *events: Event) -> None:
        """Make these facts of the current context part of the caller's transaction."""
        origin = current().origin
        await self.put_all([(event, origin) for event in events])

    async def put_all(self, entries: Sequence[tuple[Event, Origin]]) -> None:
        """As `put`, each with an origin of its own. Call it last: it serialises commits."""
        if not entries:
            return
        first = await self.next_positions(len(entries)) - len(entries) + 1
        at = now()
        await self.keep(
            [
                self._row(event, origin, position, at)
                for position, (event, origin) in enumerate(entries, first)
            ]
        )
        # Set before the commit, so the relay may look too early once; it looks again by itself.
        self.written.set()

    def _row(self, event: Event, origin: Origin, position: int, at: datetime) -> OutboxRow:
        assert event.fact in self.publishes, f"{self.service} does not declare {event.fact}"
        id = new_id()
        subject = f"cbs.{self.service}.events.{event.fact}"
        return position, id, subject, at, self._body(event, origin, id, at, position)

    def _body(self, event: Event, origin: Origin, id: UUID, at: datetime, position: int) -> bytes:
        return _encoder.encode(
            CloudEvent(
                specversion="1.0",
                id=id,
                source=f"/cbs/{self.service}",
                type=f"cbs.{self.service}.{event.fact}",
                subject=str(getattr(event, event.about)),
                time=at,
                datacontenttype="application/json",
                actor=origin.actor,
                onbehalfof=origin.on_behalf_of,
                correlationid=origin.correlation_id,
                causationid=origin.causation_id,
                position=str(position),
                data=cast(msgspec.Raw, event),  # encoded with the rest, in one go
            )
        )


HEAD = "UPDATE outbox_head SET position = position + $1 RETURNING position"
PUT = """
    INSERT INTO outbox (position, id, subject, at, body)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bytea[])"""
AFTER = "SELECT position, subject, body FROM outbox WHERE position > $1 ORDER BY position LIMIT $2"
WAITING = """
    SELECT head.position - relay.position AS waiting FROM outbox_head head CROSS JOIN relay"""
LOCK = "SELECT pg_try_advisory_lock(hashtext('cbs relay'))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('cbs relay'))"
UNPUBLISHED = """
    SELECT position, subject, body FROM outbox
    WHERE position > (SELECT position FROM relay) ORDER BY position LIMIT $1"""
PUBLISHED = "UPDATE relay SET position = $1 WHERE position < $1"


def _stored(row: Any) -> StoredFact:
    return row["position"], row["subject"], row["body"]


@dataclass(frozen=True, slots=True)
class PostgresTurn:
    """A relay's turn is an advisory lock of its connection."""

    connection: Any

    async def unpublished(self, *, limit: int) -> Sequence[StoredFact]:
        return [_stored(row) for row in await self.connection.fetch(UNPUBLISHED, limit)]

    async def published(self, position: int) -> None:
        await self.connection.execute(PUBLISHED, position)


class PostgresOutbox(Outbox):
    def __init__(self, *, service: str, publishes: Collection[str], database: Database) -> None:
        super().__init__(service=service, publishes=publishes)
        self.database = database

    async def next_positions(self, count: int) -> int:
        return int(await self.database.connection.fetchval(HEAD, count))

    async def keep(self, rows: Sequence[OutboxRow]) -> None:
        await self.database.connection.execute(PUT, *zip(*rows, strict=True))

    async def after(self, position: int, *, limit: int) -> list[StoredFact]:
        rows = await self.database.fetch(AFTER, position, min(limit, FACTS_PAGE_MAX))
        return [_stored(row) for row in rows]

    async def head(self) -> int:
        row = await self.database.fetchrow("SELECT position FROM outbox_head")
        return int(row["position"])

    async def waiting(self) -> int:
        row = await self.database.fetchrow(WAITING)
        return int(row["waiting"])

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[RelayTurn | None]:
        async with self.database.acquired() as connection:
            if not await connection.fetchval(LOCK):
                yield None
                return
            try:
                yield PostgresTurn(connection)
            finally:
                # The connection goes back to the pool; if it is gone, so is its lock.
                with suppress(*UNREACHABLE):
                    await connection.execute(UNLOCK)
