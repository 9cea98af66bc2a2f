"""The relay publishes what the outbox holds, in order, at least once; one relay a service.

Should two run for a moment, listeners see duplicates, no more.

NATS 2.15 never stores in a stream again that once met a full disk, until it is restarted, and says
so to nobody: publishing is not answered. One whose folder it cannot read it serves no more. Such
streams are made anew, for a stream is only a cache.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServerError

from cbs.platform import telemetry
from cbs.platform.bus import Bus
from cbs.platform.database import UNREACHABLE
from cbs.platform.outbox import FACTS_PAGE_MAX, Outbox, RelayTurn

STREAM_BYTES_MAX = 4 * 1024**3
STREAM_SECONDS_MAX = 7 * 24 * 3600
# NATS keeps the id of every message for so long in memory: 120 s of a busy ledger are 50 MiB. What
# is sent again comes within ACK_SECONDS_MAX; what comes later, listeners drop by its position.
DUPLICATE_SECONDS = 10
LOOK_AGAIN_SECONDS, TRY_AGAIN_SECONDS, COMMIT_SECONDS = 0.5, 0.5, 0.02
# What is lost on a connection that breaks is not missed earlier; sent twice, it is stored once.
ACK_SECONDS_MAX = 3.0
NOT_STORED_MAX = 2
# What NATS says of a stream in whose folder it cannot read something: it serves it never again.
UNREADABLE = 10194
UPDATE_AGAIN_SECONDS = 30.0

log = structlog.get_logger()


def stream_name(service: str) -> str:
    return f"CBS_{service.upper()}"


async def ensure_stream(bus: Bus, service: str, *, replicas: int = 1) -> bool:
    """A stream is a cache of the outbox: it is bounded, and may be lost and made anew.

    One that an older release made gets today's window of duplicates and number of replicas. False
    if the bus cannot do that at present (a server is away): what is there is of use meanwhile.
    """
    jetstream, name = bus.jetstream(), stream_name(service)
    wanted = StreamConfig(
        name=name,
        subjects=[f"cbs.{service}.events.>"],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        max_bytes=STREAM_BYTES_MAX,
        max_age=STREAM_SECONDS_MAX,
        duplicate_window=DUPLICATE_SECONDS,
        num_replicas=replicas,
    )
    try:
        found = await jetstream.stream_info(name)
    except NotFoundError:
        log.info("stream-made", stream=name)
        await jetstream.add_stream(wanted)
        return True
    except ServerError as error:
        if error.err_code != UNREADABLE:
            raise
        log.warning("stream-renewed", stream=name, error=repr(error))
        await jetstream.delete_stream(name)
        await jetstream.add_stream(wanted)
        return True
    if (found.config.duplicate_window, found.config.num_replicas) != (
        wanted.duplicate_window,
        wanted.num_replicas,
    ):
        try:
            await jetstream.update_stream(wanted)
        except APIError as error:
            log.warning("stream-not-updated", stream=name, error=repr(error))
            return False
    return True


class NotStored(Exception):
    """The stream did not say that it has what was published."""


@dataclass(slots=True, kw_only=True)
class Relay:
    """`not_stored` counts how many pages in a row were not."""

    outbox: Outbox
    bus: Bus
    replicas: int = 1
    not_stored: int = 0

    async def run(self) -> None:
        """Publish until cancelled, whatever fails meanwhile."""
        while True:
            try:
                if self.not_stored >= NOT_STORED_MAX:
                    await self._renew_stream()
                await self._take_turns()
            except NotStored:
                self.not_stored += 1
                log.warning("relay-not-stored", times=self.not_stored)
            except (*UNREACHABLE, asyncpg.PostgresError, NatsError, APIError) as error:
                log.warning("relay-interrupted", error=repr(error))
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    async def _take_turns(self) -> None:
        async with self.outbox.turn() as turn:
            if turn is not None:
                await self._publish_on(turn)

    async def _renew_stream(self) -> None:
        """If NATS answers, and only storing fails; what the stream held is in the outbox."""
        jetstream, name = self.bus.jetstream(), stream_name(self.outbox.service)
        with suppress(NotFoundError):
            await jetstream.stream_info(name)
            await jetstream.delete_stream(name)
            log.warning("stream-renewed", stream=name)
        self.not_stored = 0

    async def _ensure_stream(self) -> None:
        await ensure_stream(self.bus, self.outbox.service, replicas=self.replicas)

    async def _publish_on(self, turn: RelayTurn) -> None:
        """For ever; sees now and then whether the stream is there, and as it should be."""
        loop, looks_at = asyncio.get_running_loop(), 0.0
        told = False
        while True:
            if loop.time() >= looks_at:
                await self._ensure_stream()
                looks_at = loop.time() + UPDATE_AGAIN_SECONDS
            self.outbox.written.clear()
            published = await self.publish(turn)
            if published < FACTS_PAGE_MAX:
                # Told of facts that are not there yet, it came before their commit.
                early = told and not published
                told = await self._is_told(COMMIT_SECONDS if early else LOOK_AGAIN_SECONDS)

    async def _is_told(self, seconds: float) -> bool:
        """Whether somebody wrote facts meanwhile; returns as soon as that is so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.outbox.written.wait()
        return False

    async def publish(self, turn: RelayTurn) -> int:
        """Publish a page in order and remember how far; returns how many."""
        facts = await turn.unpublished(limit=FACTS_PAGE_MAX)
        if not facts:
            return 0
        jetstream = self.bus.jetstream(seconds_max=ACK_SECONDS_MAX)
        stream = stream_name(self.outbox.service)
        acks: list[asyncio.Future[Any]] = []
        try:
            for position, subject, body in facts:
                # The stream's own memory of ids drops most of what a crash sends again.
                ack = await jetstream.publish_async(
                    subject,
                    body,
                    stream=stream,
                    headers={"Nats-Msg-Id": f"{self.outbox.service}-{position}"},
                )
                acks.append(ack)
            async with asyncio.timeout(ACK_SECONDS_MAX):
                await asyncio.gather(*acks)
        except (NotFoundError, BadRequestError):
            await self._ensure_stream()
            raise
        except TimeoutError:
            raise NotStored from None
        finally:
            # What is not acknowledged would for ever count as under way.
            for ack in acks:
                ack.cancel()
        self.not_stored = 0
        await turn.published(facts[-1][0])
        telemetry.FACTS.labels("relayed", self.outbox.service).inc(len(facts))
        return len(facts)
