"""NATS as the platform's Bus uses it: requests and replies that come late, twice or never."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from cbs.platform.bus import INBOX, Bus, Endpoint
from cbs.platform.declaration import subjects_of
from cbs.simulation.process import Process
from cbs.simulation.streams import JetStream, Streams

Accept = Callable[[Any], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Network:
    """Rates are out of one; `cut` are the services that nobody reaches at present."""

    random: Random
    streams: Streams
    loss: float = 0.0
    doubling: float = 0.05
    slowness: float = 1.0
    cut: dict[str, int] = field(default_factory=dict)
    listening: dict[str, tuple[Process, Accept]] = field(default_factory=dict)

    def delay(self) -> float:
        return self.random.expovariate(500) * self.slowness

    def reaches(self, *processes: Process) -> bool:
        return all(each.alive and not self.cut.get(each.name) for each in processes)

    def lost(self) -> bool:
        return self.random.random() < self.loss

    def connect(self, process: Process) -> "Client":
        return Client(self, process)

    def send(self, client: "Client", subject: str, data: bytes, reply: "AwaitedReply") -> None:
        for _ in range(2 if self.random.random() < self.doubling else 1):
            if not self.lost():
                reply.loop.call_later(self.delay(), self._arrive, client, subject, data, reply)

    def _arrive(self, client: "Client", subject: str, data: bytes, reply: "AwaitedReply") -> None:
        found = self.listening.get(subject)
        if found is None or not found[0].alive:
            reply.fail(NoRespondersError())
            return
        process, accept = found
        if self.reaches(client.process, process):
            process.start(_accepted(accept, DeliveredRequest(self, process, data, reply)))


async def _accepted(accept: Accept, request: "DeliveredRequest") -> None:
    await accept(request)


@dataclass(slots=True, eq=False)
class AwaitedReply:
    """Where the answer is waited for; only the first one counts."""

    client: "Client"
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Message]"

    def come(self, data: bytes) -> None:
        if not self.future.done():
            self.future.set_result(Message(data))

    def fail(self, error: Exception) -> None:
        if not self.future.done() and self.client.process.alive:
            self.future.set_exception(error)


@dataclass(slots=True)
class Message:
    data: bytes


@dataclass(frozen=True, slots=True)
class Addressed:
    """Where the answer goes, as the message beneath a request says it."""

    reply: str = f"{INBOX}.simulated"


@dataclass(slots=True)
class DeliveredRequest:
    """A request as `nats.micro` hands it over."""

    network: Network
    process: Process
    data: bytes
    reply: AwaitedReply
    _msg: Addressed = field(default_factory=Addressed)

    async def respond(self, answer: bytes) -> None:
        network, reply = self.network, self.reply
        if not network.reaches(self.process, reply.client.process) or network.lost():
            return
        reply.loop.call_later(network.delay(), reply.come, answer)


class Client:
    """One connection to the simulated NATS."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network, self.process = network, process
        self.is_closed = False

    @property
    def is_connected(self) -> bool:
        return not self.is_closed and self.network.reaches(self.process)

    async def request(
        self,
        subject: str,
        data: bytes,
        timeout: float,  # noqa: ASYNC109 (as nats has it)
    ) -> Message:
        if not self.process.alive:
            raise ConnectionClosedError
        loop = asyncio.get_running_loop()
        reply = AwaitedReply(self, loop, loop.create_future())
        self.network.send(self, subject, data, reply)
        try:
            async with asyncio.timeout(timeout):
                return await reply.future
        except TimeoutError:
            raise NatsTimeout from None

    def jetstream(self, *, timeout: float, publish_async_max_pending: int) -> JetStream:
        return JetStream(self.network.streams, self, seconds_max=timeout)

    async def close(self) -> None:
        self.is_closed = True


class SimulatedBus(Bus):
    """The platform's own, but for what it connects to."""

    network: Network
    process: Process

    async def open(self, *, url: str, nkey_file: Path | None, patiently: bool = False) -> None:
        self._client = self.network.connect(self.process)  # type: ignore[assignment]

    async def pull(self, *, stream: str, consumer: str, page_max: int) -> Any:
        return await self.jetstream().pull_subscribe_bind(consumer=consumer, stream=stream)

    async def serve(self, *endpoints: Endpoint[Any]) -> None:
        for endpoint in endpoints:
            accept = self._accepting(endpoint)
            for subject in subjects_of(f"cbs.{self.service}.{endpoint.verb}", self.sha):
                self.network.listening[subject] = (self.process, accept)
