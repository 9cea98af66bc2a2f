"""A fact leaves through the transaction that made it true, and in the order of commits.

The last statement before COMMIT takes the head's row lock, so positions follow commit order
without a gap; whoever reads them can tell what is missing. The bytes kept are the bytes published.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec

from cbs.kernel.event import Event, Origin
from cbs.platform.context import current, new_id, now
from cbs.platform.database import Database

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


HEAD = "UPDATE outbox_head SET position = position + $1 RETURNING position"
PUT = """
    INSERT INTO outbox (position, id, subject, at, body)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bytea[])"""
AFTER = "SELECT position, subject, body FROM outbox WHERE position > $1 ORDER BY position LIMIT $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    service: str
    database: Database
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, *events: Event) -> None:
        """Make these facts of the current context part of the caller's transaction."""
        origin = current().origin
        await self.put_all([(event, origin) for event in events])

    async def put_all(self, entries: Sequence[tuple[Event, Origin]]) -> None:
        """As `put`, each with an origin of its own. Call it last: it serialises commits."""
        if not entries:
            return
        connection = self.database.connection
        head: int = await connection.fetchval(HEAD, len(entries))
        at = now()
        ids = [new_id() for _ in entries]
        first = head - len(entries) + 1
        await connection.execute(
            PUT,
            list(range(first, head + 1)),
            ids,
            [f"cbs.{self.service}.events.{event.fact}" for event, _ in entries],
            [at] * len(entries),
            [
                self._body(event, origin, id, at, position)
                for (event, origin), id, position in zip(
                    entries, ids, range(first, head + 1), strict=True
                )
            ],
        )
        # Set before the commit, so the relay may look too early once; it looks again by itself.
        self.written.set()

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

    async def after(self, position: int, *, limit: int) -> list[tuple[int, str, bytes]]:
        """Position, subject and body of the facts that follow, at most FACTS_PAGE_MAX."""
        rows = await self.database.fetch(AFTER, position, min(limit, FACTS_PAGE_MAX))
        return [(row["position"], row["subject"], row["body"]) for row in rows]

    async def head(self) -> int:
        row = await self.database.fetchrow("SELECT position FROM outbox_head")
        return int(row["position"])
