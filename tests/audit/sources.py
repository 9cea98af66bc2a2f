"""A service that says things: a stream, an outbox to catch up from, and nothing else."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.consumer import FactsAfter, FactsPage
from cbs.platform.relay import ensure_stream
from tests.audit.facts import fact


@dataclass(frozen=True)
class Source:
    name: str
    bus: Bus
    outbox: list[bytes] = field(default_factory=list)

    def put(self, count: int) -> list[bytes]:
        """Facts that are true from now on; whether anybody is told is another matter."""
        first = len(self.outbox) + 1
        new = [fact(self.name, position) for position in range(first, first + count)]
        self.outbox.extend(new)
        return new

    async def publish(self, bodies: Sequence[bytes]) -> None:
        jetstream = self.bus.jetstream()
        for body in bodies:
            await jetstream.publish(f"cbs.{self.name}.events.something-happened", body)

    async def facts(self, asked: FactsAfter, _key: str) -> FactsPage:
        bodies = self.outbox[asked.position : asked.position + asked.limit]
        return FactsPage(head=len(self.outbox), bodies=[body.decode() for body in bodies])


@asynccontextmanager
async def source(name: str, *, nats_url: str, tokens: Tokens) -> AsyncIterator[Source]:
    bus = Bus(service=name, tokens=tokens)
    await bus.open(url=nats_url, nkey_file=None)
    try:
        said = Source(name, bus)
        await ensure_stream(bus, name)
        await bus.serve(
            Endpoint(
                verb="facts",
                takes=FactsAfter,
                gives=FactsPage,
                handle=said.facts,
                permission="internal",
            )
        )
        yield said
    finally:
        await bus.leave()
        await bus.close()
