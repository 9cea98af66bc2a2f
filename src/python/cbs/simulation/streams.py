"""JetStream as relay and listener use it: at least once, in any order, and sometimes not there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import FetchTimeoutError, NoStreamResponseError, NotFoundError

from cbs.simulation.loop import pause, wake


class Peer(Protocol):
    """Somebody's connection."""

    @property
    def is_connected(self) -> bool: ...


@dataclass(slots=True)
class ConsumerState:
    """`next` is the place of the first message that was not handed over."""

    next: int = 0


@dataclass(slots=True)
class Stream:
    config: Any = None
    messages: list[bytes] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    consumers: dict[str, ConsumerState] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Streams:
    """`forgetful` streams take what they had before."""

    random: Random
    delay: Callable[[], float]
    lost: Callable[[], bool]
    forgetful: bool = False
    named: dict[str, Stream] = field(default_factory=dict)
    waiting: "list[asyncio.Future[None]]" = field(default_factory=list)

    async def news(self, until: float) -> None:
        """Until somebody publishes, or then."""
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self.waiting.append(waiting)
        loop.call_at(until, wake, waiting)
        await waiting

    def tell(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            wake(each)

    def bring_again(self) -> None:
        """The broker lost its memory of what it had handed over lately."""
        for stream in self.named.values():
            for consumer in stream.consumers.values():
                consumer.next = max(0, consumer.next - self.random.randint(0, 30))
        self.tell()

    def stream(self, name: str) -> Stream:
        found = self.named.get(name)
        if found is None:
            raise NotFoundError
        return found

    def consumer(self, stream: str, name: str) -> ConsumerState:
        found = self.stream(stream).consumers.get(name)
        if found is None:
            raise NotFoundError
        return found


class JetStream:
    def __init__(self, streams: Streams, client: Peer, *, seconds_max: float) -> None:
        self.streams, self.client, self.seconds_max = streams, client, seconds_max

    async def _travel(self) -> None:
        await pause(self.streams.delay())
        if not self.client.is_connected:
            await pause(self.seconds_max)
            raise NatsTimeout

    async def stream_info(self, name: str) -> Stream:
        await self._travel()
        return self.streams.stream(name)

    async def add_stream(self, config: Any) -> None:
        await self._travel()
        self.streams.named.setdefault(config.name, Stream(config))

    async def delete_stream(self, name: str) -> None:
        await self._travel()
        self.streams.stream(name)
        del self.streams.named[name]

    async def consumer_info(self, stream: str, name: str) -> None:
        await self._travel()
        self.streams.consumer(stream, name)

    async def add_consumer(self, stream: str, config: Any) -> None:
        await self._travel()
        found = self.streams.stream(stream)
        begun = ConsumerState(next=len(found.messages))
        found.consumers.setdefault(config.durable_name, begun)

    async def publish_async(
        self, subject: str, body: bytes, *, stream: str, headers: dict[str, str]
    ) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        ack: asyncio.Future[None] = loop.create_future()
        if self.client.is_connected and not self.streams.lost():
            loop.call_later(
                self.streams.delay(), self._arrive, stream, body, headers["Nats-Msg-Id"], ack
            )
        return ack

    def _arrive(self, name: str, body: bytes, id: str, ack: "asyncio.Future[None]") -> None:
        stream = self.streams.named.get(name)
        if stream is None:
            if not ack.done():
                ack.set_exception(NoStreamResponseError())
            return
        if id not in stream.ids or self.streams.forgetful:
            stream.messages.append(body)
            stream.ids.add(id)
            self.streams.tell()
        if not ack.done() and not self.streams.lost():
            ack.set_result(None)

    async def pull_subscribe_bind(self, *, consumer: str, stream: str) -> "Subscription":
        await self._travel()
        return Subscription(self, stream, consumer)


class Subscription:
    def __init__(self, jetstream: JetStream, stream: str, consumer: str) -> None:
        self.jetstream, self.stream, self.consumer = jetstream, stream, consumer

    async def fetch(
        self,
        batch: int,
        *,
        timeout: float,  # noqa: ASYNC109 (as nats has it)
    ) -> "list[PulledMessage]":
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            if messages := self._due(batch):
                await pause(self.jetstream.streams.delay())
                return messages
            if loop.time() >= until:
                raise FetchTimeoutError
            await self.jetstream.streams.news(until)

    def _due(self, batch: int) -> "list[PulledMessage]":
        streams = self.jetstream.streams
        stream = streams.named.get(self.stream)
        consumer = stream.consumers.get(self.consumer) if stream else None
        if stream is None or consumer is None or not self.jetstream.client.is_connected:
            return []
        if consumer.next >= len(stream.messages):
            return []
        end = consumer.next + streams.random.randint(1, batch)
        due = stream.messages[consumer.next : end]
        consumer.next += len(due)
        streams.random.shuffle(due)
        return [PulledMessage(body) for body in due if not streams.lost()]

    async def unsubscribe(self) -> None:
        """A pull consumer keeps its place."""


@dataclass(slots=True)
class PulledMessage:
    """Nothing is acknowledged: a consumer is handed each message once."""

    data: bytes
