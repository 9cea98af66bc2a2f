"""What every HTTP request passes before it meets a route: how many at once, who, how long.

Plain ASGI around the app, because it is on the hot path and must see unknown paths, too. What is
too much is refused before anything is done for it (docs/decisions/0007-excess-is-refused.md).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from cbs.kernel.refusal import Busy, Malformed, NotSignedIn, Refusal, Unavailable
from cbs.platform import telemetry
from cbs.platform.auth import Tokens, bearer
from cbs.platform.context import Context, within
from cbs.platform.problem import MEDIA_TYPE, RETRY_AFTER_SECONDS, NoSuchResource, problem_of

REQUEST_SECONDS_MAX = 10.0
IN_FLIGHT_MAX = 128
# Who is refused is told so late, or those who ask again at once would be most of the work.
HELD_MAX, HELD_SECONDS = 1_024, 1.0
CORRELATION_CHARACTERS_MAX = 64

OPEN = re.compile(r"/health/(live|ready)|/metrics|/schema(/[\w.-]+)?")
DOTS = re.compile(r"/\.\.?(/|$)")
READ = {
    b"authorization",
    b"content-type",
    b"idempotency-key",
    b"traceparent",
    b"x-correlation-id",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Admission:
    """Whatever is not OPEN needs a token; health, metrics and schema do not leave loopback.

    A HEAD is a GET whose body nobody sends (RFC 9110, 9.3.2): uvicorn leaves it out.
    """

    app: App
    tokens: Tokens
    in_flight: int = 0
    held: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        if OPEN.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        if self.in_flight >= IN_FLIGHT_MAX:
            await self._turn_away(scope["method"], send)
            return
        self.in_flight += 1
        started, answered = asyncio.get_running_loop().time(), [0]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered[0] = message["status"]
            await send(message)

        try:
            await self._pass_on(scope, receive, sending)
        except Refusal as refusal:
            await _refuse(refusal, sending)
        except TimeoutError:
            if answered[0] == 0:
                await _refuse(Unavailable("it took too long"), sending)
        finally:
            self.in_flight -= 1
            operation = f"{scope['method']} {scope.get('path_template', 'unknown')}"
            telemetry.REQUESTS.labels("http", operation, str(answered[0])).inc()
            telemetry.SECONDS.labels("http", operation).observe(
                asyncio.get_running_loop().time() - started
            )

    async def _turn_away(self, method: str, send: Send) -> None:
        """Decided at once, told after HELD_SECONDS; what finds no room to wait is told at once."""
        telemetry.REQUESTS.labels("http", f"{method} turned away", "429").inc()
        if self.held < HELD_MAX:
            self.held += 1
            try:
                await asyncio.sleep(HELD_SECONDS)
            finally:
                self.held -= 1
        await _refuse(Busy(), send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "//" in scope["path"] or DOTS.search(scope["path"]):
            # Whoever stands before us may have read another path.
            raise NoSuchResource("a path is written without empty parts and dots")
        headers = _once(scope["headers"])
        token = bearer(headers.get(b"authorization"))
        if not token:
            raise NotSignedIn
        context = Context(
            principal=self.tokens.principal(token),
            token=token,
            correlation_id=headers.get(b"x-correlation-id", "")[:CORRELATION_CHARACTERS_MAX],
            deadline=asyncio.get_running_loop().time() + REQUEST_SECONDS_MAX,
        )
        parent = {"traceparent": headers[b"traceparent"]} if b"traceparent" in headers else None
        with (
            within(context),
            telemetry.span(scope["method"], kind="server", parent=parent, path=scope["path"]),
        ):
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                await self.app(scope, receive, send)


def _once(sent: list[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """Those that mean something here. Raises Malformed of one that is there twice: what stands
    between us and the caller may have read the other."""
    headers: dict[bytes, str] = {}
    for name, value in sent:
        if name in READ:
            if name in headers:
                raise Malformed(f"the header {name.decode()} is there more than once")
            headers[name] = value.decode("latin-1")
    return headers


async def _refuse(refusal: Refusal, send: Send) -> None:
    problem = problem_of(refusal)
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if problem.status in (429, 503):
        headers.append((b"retry-after", RETRY_AFTER_SECONDS.encode()))
    if problem.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="cbs"'))
    body = msgspec.json.encode(problem)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
