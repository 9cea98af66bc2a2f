"""Services ask each other over NATS: typed, with a deadline, a key and the caller's own token.

What NATS headers could carry travels in the JSON envelope instead, which is decoded in C with the
rest of the message (docs/decisions/0003-envelope-on-the-bus.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import FlushTimeoutError
from nats.js import JetStreamContext
from nats.micro.request import Request as MicroRequest
from nats.micro.service import EndpointConfig, ServiceConfig
from nats.micro.service import Service as MicroService
from purgatory import AsyncCircuitBreakerFactory

from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Busy, Malformed, NotPermitted, Refusal, Unavailable
from cbs.platform import telemetry
from cbs.platform.auth import Tokens
from cbs.platform.context import Context, current, within
from cbs.platform.database import UNREACHABLE
from cbs.platform.declaration import subjects_of
from cbs.platform.envelope import (
    MESSAGE_BYTES_MAX,
    Call,
    Reply,
    call_decoder,
    call_of,
    encode,
    received,
    reply_decoder,
    reply_refusing,
    reply_with,
)
from cbs.platform.jetstream_pull import Pull
from cbs.platform.nats_connect import connected
from cbs.platform.retry import until_answered

CALL_SECONDS_MAX, TRY_SECONDS_MAX = 5.0, 2.0
IN_FLIGHT_MAX, BREAKER_FAILURES_MAX, BREAKER_SECONDS = 512, 20, 2.0
FLUSH_SECONDS_MAX = 2
VERSION, INBOX = "1.0.0", "_INBOX"

log = structlog.get_logger()
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[P]):
    """Answers `cbs.<service>.<verb>`. `permission` is what the caller's token must carry;
    None leaves it to the handler, which then looks by what is asked. `refuses` is in the order in
    which refusals come, after those that every verb has."""

    verb: str
    takes: type[P]
    gives: Any
    handle: Callable[[P, str], Awaitable[Any]]
    permission: str | None
    refuses: tuple[type[Refusal], ...] = ()
    doc: str = ""


NotPermittedHook = Callable[[Principal, str, str], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Bus:
    """One service's connection. Reconnects for ever; a lost server is an Unavailable meanwhile."""

    service: str
    tokens: Tokens
    own_token: str = ""
    sha: str = ""
    on_not_permitted: NotPermittedHook | None = None
    _client: Client = field(default_factory=Client)
    _streams: dict[float, JetStreamContext] = field(default_factory=dict)
    _micro: MicroService | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _breakers: AsyncCircuitBreakerFactory = field(
        default_factory=lambda: AsyncCircuitBreakerFactory(
            default_threshold=BREAKER_FAILURES_MAX, default_ttl=BREAKER_SECONDS, exclude=[Refusal]
        )
    )

    async def open(self, *, url: str, nkey_file: Path | None, patiently: bool = False) -> None:
        self._client = await connected(
            url,
            service=self.service,
            nkey_file=nkey_file,
            inbox=f"{INBOX}_{self.service}",
            on_error=self._on_error,
            patiently=patiently,
        )

    async def _on_error(self, error: Exception) -> None:
        log.warning("bus-error", error=repr(error))

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    def jetstream(self, *, seconds_max: float = CALL_SECONDS_MAX) -> JetStreamContext:
        """The same one each time: each subscribes anew to what it publishes, and never ends it."""
        if seconds_max not in self._streams:
            self._streams[seconds_max] = self._client.jetstream(
                timeout=seconds_max, publish_async_max_pending=1024
            )
        return self._streams[seconds_max]

    async def pull(self, *, stream: str, consumer: str, page_max: int) -> Pull:
        return await Pull.of(self._client, stream=stream, consumer=consumer, page_max=page_max)

    async def serve(self, *endpoints: Endpoint[Any]) -> None:
        named = ServiceConfig(name=f"cbs-{self.service}", version=VERSION)
        self._micro = MicroService(self._client, named)
        # What is lost in this moment is subscribed to anew on the server that comes next.
        with suppress(FlushTimeoutError):
            await self._micro.start()
        for endpoint in endpoints:
            accept = self._accepting(endpoint)
            for subject in subjects_of(f"cbs.{self.service}.{endpoint.verb}", self.sha):
                name = subject.split(".", 2)[2].replace(".", "-")
                await self._micro.add_endpoint(
                    EndpointConfig(name=name, subject=subject, handler=accept)
                )
        # A flush's PING goes ahead of what is still to be written (nats-py 2.16): twice, then.
        with suppress(FlushTimeoutError):
            for _ in range(2):
                await self._client.flush(FLUSH_SECONDS_MAX)

    def _accepting(self, endpoint: Endpoint[P]) -> Callable[[MicroRequest], Awaitable[None]]:
        decoder = call_decoder(endpoint.takes)

        async def accept(request: MicroRequest) -> None:
            if not request._msg.reply.startswith(INBOX):
                # Anybody could speak with our voice: NATS lets us answer wherever we are told to.
                log.warning("nowhere-to-answer", verb=endpoint.verb)
                return
            # nats.micro waits for its handler, one request at a time; a task does not make it wait.
            if len(self._tasks) >= IN_FLIGHT_MAX:
                await request.respond(reply_refusing(Busy()))
                return
            task = asyncio.create_task(self._respond(endpoint, decoder, request))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

        return accept

    async def _respond(
        self, endpoint: Endpoint[P], decoder: msgspec.json.Decoder[Call[P]], request: MicroRequest
    ) -> None:
        started, outcome = asyncio.get_running_loop().time(), "error"
        answer = reply_refusing(Unavailable())
        try:
            answer, outcome = await self._answer(endpoint, decoder, request.data), "ok"
        except Refusal as refusal:
            answer, outcome = reply_refusing(refusal), refusal.code
        except TimeoutError:
            answer, outcome = reply_refusing(Unavailable("it took too long")), "timeout"
        except UNREACHABLE as error:
            outcome = "unavailable"
            log.warning("database-unavailable", verb=endpoint.verb, error=repr(error))
        finally:
            telemetry.REQUESTS.labels("bus", endpoint.verb, outcome).inc()
            telemetry.SECONDS.labels("bus", endpoint.verb).observe(
                asyncio.get_running_loop().time() - started
            )
            await _respond_safely(request, answer)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request-failed", exc_info=error)

    async def _answer(
        self, endpoint: Endpoint[P], decoder: msgspec.json.Decoder[Call[P]], body: bytes
    ) -> bytes:
        if len(body) > MESSAGE_BYTES_MAX:
            raise Malformed(f"longer than {MESSAGE_BYTES_MAX} bytes")
        try:
            call: Call[Any] = _decoded(decoder.decode, body)
            malformed = None
        except Malformed as error:
            # Who may not ask is not told what is wrong with the question.
            call, malformed = _decoded(call_of, body), error
        principal = self.tokens.principal(call.token)
        if endpoint.permission and not principal.may(endpoint.permission):
            await self._not_permitted(principal, endpoint.permission, f"cbs.{endpoint.verb}")
        if malformed is not None:
            raise malformed
        if call.milliseconds_left <= 0:
            raise Unavailable("the deadline had passed")
        seconds = min(call.milliseconds_left, int(1000 * CALL_SECONDS_MAX)) / 1000
        context = Context(
            principal=principal,
            token=call.token,
            correlation_id=call.correlation_id[:64],
            causation_id=call.causation_id[:64],
            on_behalf_of=call.on_behalf_of[:128],
            deadline=asyncio.get_running_loop().time() + seconds,
        )
        parent = {"traceparent": call.traceparent} if call.traceparent else None
        with within(context), telemetry.span(endpoint.verb, kind="server", parent=parent):
            async with asyncio.timeout(seconds):
                result = await endpoint.handle(call.data, call.key)
        return reply_with(result)

    async def _not_permitted(self, principal: Principal, permission: str, operation: str) -> None:
        if self.on_not_permitted is not None:
            await self.on_not_permitted(principal, permission, operation)
        raise NotPermitted(f"needs the permission {permission}")

    async def call(
        self, operation: str, data: object, gives: type[R], *, key: str = "", own: bool = False
    ) -> R:
        """Ask `<service>.<verb>`. What is changed needs a key: an unanswered call is repeated.

        The caller's own token goes along; with `own`, this service asks on the caller's behalf.
        Raises what the other service refuses as RemoteRefusal, and Unavailable when nobody
        answers in time: the outcome is then unknown and the same key will tell.
        """
        context = current()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + context.seconds_left(CALL_SECONDS_MAX)
        decoder: msgspec.json.Decoder[Reply[R]] = reply_decoder(gives)  # type: ignore[arg-type]

        async def attempt(subject: str) -> Reply[R]:
            left = deadline - loop.time()
            if left <= 0:
                raise Unavailable(f"{operation} was not answered in time")
            call = Call(
                token=self.own_token if own else context.token,
                milliseconds_left=int(min(left, CALL_SECONDS_MAX) * 1000),
                data=data,
                key=key,
                correlation_id=context.correlation_id,
                causation_id=context.causation_id,
                on_behalf_of=(context.on_behalf_of or context.principal.id) if own else "",
                traceparent=telemetry.traceparent(),
            )
            breaker = await self._breakers.get_breaker(operation)
            async with breaker:
                message = await self._client.request(
                    subject, encode(call), timeout=min(left, TRY_SECONDS_MAX)
                )
            return decoder.decode(message.data)

        with telemetry.span(operation, kind="client"):
            return received(await until_answered(attempt, f"cbs.{operation}", deadline))

    async def leave(self) -> None:
        """Take no more requests, finish those in hand."""
        if self._micro is not None:
            await self._micro.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CALL_SECONDS_MAX)

    async def close(self) -> None:
        if not self._client.is_closed:
            await self._client.close()


def _decoded(decode: Callable[[bytes], R], body: bytes | msgspec.Raw) -> R:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None


async def _respond_safely(request: MicroRequest, answer: bytes) -> None:
    try:
        await request.respond(answer)
    except NatsError as error:
        log.warning("reply-lost", error=repr(error))
