"""A consumer hears every fact of a source once, in order, whatever the broker does.

Positions have no gaps, so one watermark a source is the whole inbox: what is at or below it was
heard, and what is missing above it is fetched from the source's outbox. It moves in the
transaction of what was done. A fact that cannot be handled is set aside as a dead letter after
its last try, and the rest goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import structlog
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, FetchTimeoutError, NotFoundError

from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal, Unavailable
from cbs.platform import telemetry
from cbs.platform.bus import Bus
from cbs.platform.context import Context, now, within
from cbs.platform.database import UNREACHABLE, Transactions
from cbs.platform.inbox import DeadLetter, Inbox
from cbs.platform.jetstream_pull import Pull
from cbs.platform.outbox import FACTS_PAGE_MAX, Fact, fact_of
from cbs.platform.relay import stream_name

WAIT_SECONDS, TRY_AGAIN_SECONDS = 2.0, 0.5
POSITION_MAX = 2**53 - 1
TRIES_MAX, PAUSE_SECONDS_MAX = 5, 2.0

log = structlog.get_logger()

Handler = Callable[[Sequence[Fact]], Awaitable[None]]


class FactsAfter(msgspec.Struct, kw_only=True):
    """Asks a service for its facts after a position, oldest first, FACTS_PAGE_MAX at most."""

    position: Annotated[int, msgspec.Meta(ge=0, le=POSITION_MAX)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=FACTS_PAGE_MAX)] = FACTS_PAGE_MAX


class FactsPage(msgspec.Struct, kw_only=True):
    """`head` is the last position written when the page was read."""

    head: int
    bodies: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Hears one source. `handle` runs in the transaction that moves the watermark."""

    service: str
    source: str
    database: Transactions
    inbox: Inbox
    bus: Bus
    principal: Principal
    handle: Handler

    async def run(self) -> None:
        """Hear until cancelled, whatever fails meanwhile."""
        while True:
            try:
                await self._listen()
            except Refusal as refusal:
                log.info("source-unavailable", source=self.source, why=refusal.detail)
            except (*UNREACHABLE, NatsError, APIError) as error:
                log.warning("consumer-interrupted", source=self.source, error=repr(error))
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    async def _listen(self) -> None:
        await self.inbox.begin(self.source)
        jetstream = self.bus.jetstream()
        try:
            subscription = await self._pull(jetstream)
        except (NatsError, APIError):
            # The stream may be away for long, and is not what holds the facts.
            await self.catch_up()
            raise
        try:
            await self.catch_up()
            while True:
                try:
                    messages = await subscription.fetch(FACTS_PAGE_MAX, timeout=WAIT_SECONDS)
                except (FetchTimeoutError, NatsTimeout):
                    # Silence may be a loss: the source's outbox knows.
                    await self.catch_up()
                    await jetstream.consumer_info(stream_name(self.source), self.service)
                    continue
                await self.hear([message.data for message in messages])
        finally:
            await subscription.unsubscribe()

    async def _pull(self, jetstream: JetStreamContext) -> Pull:
        stream = stream_name(self.source)
        try:
            await jetstream.consumer_info(stream, self.service)
        except NotFoundError:
            kept_by = (await jetstream.stream_info(stream)).config.num_replicas
            # The watermark says what was heard; what is lost on the way is a gap, and fetched.
            config = ConsumerConfig(
                durable_name=self.service,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.NEW,
                # A server alone keeps nothing of it on its disk, where one flipped bit is enough
                # that it can never be made again.
                mem_storage=kept_by == 1,
                filter_subject=f"cbs.{self.source}.events.>",
            )
            await jetstream.add_consumer(stream, config)
        return await self.bus.pull(stream=stream, consumer=self.service, page_max=FACTS_PAGE_MAX)

    async def catch_up(self) -> int:
        """Fetch what the broker did not bring from the source's outbox; returns how many."""
        fetched = 0
        while True:
            after = await self.inbox.heard(self.source)
            with within(Context(principal=self.principal)):
                page = await self.bus.call(
                    f"{self.source}.facts", FactsAfter(position=after), FactsPage, own=True
                )
            if not page.bodies:
                return fetched
            if await self._heard([body.encode() for body in page.bodies]):
                raise Unavailable(f"{self.source} no longer has what follows position {after}")
            fetched += len(page.bodies)

    async def hear(self, bodies: Sequence[bytes]) -> None:
        """Handle what is next and skip what was heard; stops at a gap, which is then fetched."""
        if await self._heard(bodies):
            await self.catch_up()

    async def _heard(self, bodies: Sequence[bytes]) -> bool:
        """True if something is missing before one of these."""
        facts = sorted(self._readable(bodies), key=lambda fact: fact.position)
        gap, error = await self._tried(facts)
        if error is not None:
            log.warning("handler-failed", source=self.source, error=repr(error))
            gap = await self._one_by_one(facts)
        return gap

    def _readable(self, bodies: Sequence[bytes]) -> Iterator[Fact]:
        for body in bodies:
            try:
                yield fact_of(body)
            except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors, too
                # If it should have been a fact, it leaves a gap, which the source's outbox fills.
                log.warning("not-a-fact", source=self.source, error=repr(error)[:200])

    async def _tried(self, facts: Sequence[Fact]) -> tuple[bool, Exception | None]:
        try:
            return await self._handled(facts), None
        except UNREACHABLE:
            raise
        except Exception as error:  # whatever the handler does wrong, the consumer must go on
            return False, error

    async def _handled(self, facts: Sequence[Fact]) -> bool:
        """True if something is missing before one of these."""
        async with self.database.transaction():
            heard = await self.inbox.lock(self.source)
            due: list[Fact] = []
            for fact in facts:
                if fact.position == heard + len(due) + 1:
                    due.append(fact)
            if due:
                cause = due[-1].event
                context = Context(
                    principal=self.principal,
                    correlation_id=cause.correlationid,
                    causation_id=str(cause.id),
                    on_behalf_of=cause.actor,
                )
                with within(context), telemetry.span(f"hear {self.source}"):
                    await self.handle(due)
                await self.inbox.move(self.source, due[-1].position)
        telemetry.FACTS.labels("heard", self.source).inc(len(due))
        return bool(facts) and facts[-1].position > heard + len(due)

    async def _one_by_one(self, facts: Sequence[Fact]) -> bool:
        for fact in facts:
            if await self._persistently(fact):
                return True
        return False

    async def _persistently(self, fact: Fact) -> bool:
        pause = 0.05
        for _ in range(TRIES_MAX):
            gap, error = await self._tried([fact])
            if error is None:
                return gap
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        assert error is not None
        await self._set_aside(fact, error)
        return False

    async def _set_aside(self, fact: Fact, error: Exception) -> None:
        async with self.database.transaction():
            if await self.inbox.lock(self.source) == fact.position - 1:
                letter = DeadLetter(
                    source=fact.source,
                    position=fact.position,
                    error=repr(error)[:2000],
                    at=now(),
                    replayed_at=None,
                    fact=msgspec.Raw(fact.body),
                )
                await self.inbox.set_aside(letter)
                await self.inbox.move(self.source, fact.position)
                log.error(
                    "dead-letter", source=fact.source, position=fact.position, why=repr(error)
                )
