"""A source of facts with its relay, and a consumer, on real databases and whatever bus."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cbs.kernel.event import Event
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.consumer import Consumer
from cbs.platform.context import NOBODY
from cbs.platform.database import Database
from cbs.platform.inbox import PostgresInbox
from cbs.platform.outbox import Fact, PostgresOutbox
from cbs.platform.process import ended
from cbs.platform.relay import Relay
from cbs.platform.service import _facts_endpoint
from tests.conftest import Database as Made


@dataclass(frozen=True, slots=True, kw_only=True)
class LampLit(Event):
    """A lamp was lit."""

    fact = "lamp-lit"

    about: ClassVar[str] = "lamp"

    lamp: int


@dataclass
class House:
    """A source with its relay and a consumer; what the consumer heard, as it committed it."""

    source: PostgresOutbox
    relay: Relay
    consumer: Consumer
    bus: Bus
    listener: Database
    poison: set[int] = field(default_factory=set)

    async def light(self, *lamps: int) -> None:
        async with self.source.database.transaction():
            await self.source.put(*(LampLit(lamp=lamp) for lamp in lamps))

    async def handle(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            lamp = int(fact.event.subject)
            if lamp in self.poison:
                raise ValueError(f"lamp {lamp}")
            # Any table will do to see what was done, and how often.
            await self.listener.execute(
                "INSERT INTO request (principal, key, fingerprint, asked_at)"
                " VALUES ($1, $2, '', now())",
                fact.source,
                f"{fact.position:04} {lamp}",
            )

    async def heard(self) -> list[int]:
        rows = await self.listener.fetch("SELECT key FROM request ORDER BY key")
        return [int(row["key"].split()[1]) for row in rows]

    async def until_heard(self, count: int, *, seconds: float = 15) -> list[int]:
        async with asyncio.timeout(seconds):
            while len(heard := await self.heard()) < count:  # noqa: ASYNC110 (another database)
                await asyncio.sleep(0.05)
        return heard


class Running:
    """Tasks that run inside a `with`, as often as the test starts and kills them."""

    def __init__(self, *works: Any) -> None:
        self.works = works

    async def __aenter__(self) -> None:
        self.tasks = [asyncio.create_task(work.run()) for work in self.works]

    async def __aexit__(self, *_: object) -> None:
        await ended(set(self.tasks))


@asynccontextmanager
async def house_on(
    ledger: Bus,
    audit: Bus,
    database: Callable[[str], Made],
    *more: Endpoint[Any],
    replicas: int = 1,
) -> AsyncIterator[House]:
    """The ledger tells, and audit hears; relay and consumer wait to be run; `more` is what the
    ledger answers besides."""
    source_db, listener_db = (Database(database("ledger").runtime_url) for _ in range(2))
    await source_db.open()
    await listener_db.open()
    outbox = PostgresOutbox(service="ledger", publishes=[LampLit.fact], database=source_db)
    await ledger.serve(*more, _facts_endpoint(outbox))
    made: list[House] = []

    async def handle(facts: Sequence[Fact]) -> None:
        await made[0].handle(facts)

    consumer = Consumer(
        service="audit",
        source="ledger",
        database=listener_db,
        inbox=PostgresInbox(database=listener_db),
        bus=audit,
        principal=NOBODY.principal,
        handle=handle,
    )
    relay = Relay(outbox=outbox, bus=ledger, replicas=replicas)
    made.append(
        House(source=outbox, relay=relay, consumer=consumer, bus=audit, listener=listener_db)
    )
    try:
        yield made[0]
    finally:
        await source_db.close()
        await listener_db.close()
