"""The bank's public API as its users reach it: through the edge, with a token and own keys."""

import asyncio
import itertools
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from cbs.tools.local import state
from cbs.tools.local.folder import Folder

REQUEST_SECONDS_MAX, REPEAT_SECONDS_MAX = 20.0, 60.0
WAIT_SECONDS_MIN, WAIT_SECONDS_MAX = 0.05, 2.0
SAID_BYTES_SHOWN = 300
REPEATED = frozenset({429, 502, 503, 504})

T = TypeVar("T")


class NoBank(RuntimeError):
    """No bank is up in the folder."""


class NoAnswerFromBank(RuntimeError):
    """The bank could not be reached, or would not answer, for as long as was reasonable."""


class RefusedByBank(Exception):
    """The bank said no; `code` is the stable end of the problem's type."""

    def __init__(self, problem: "ApiProblem") -> None:
        super().__init__(f"{problem.code}: {problem.detail or problem.title}")
        self.status, self.code = problem.status, problem.code


class ApiProblem(msgspec.Struct, kw_only=True):
    type: str = ""
    title: str = ""
    status: int = 0
    detail: str = ""

    @property
    def code(self) -> str:
        return self.type.removeprefix("urn:cbs:")


@dataclass(frozen=True, slots=True)
class ApiReply:
    status: int
    body: bytes
    retry_after: bytes = b""

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def said(self) -> str:
        """For a message."""
        return f"{self.status} {self.body[:SAID_BYTES_SHOWN].decode(errors='replace')}"


class HttpConnection(asyncio.Protocol):
    """One kept-alive connection, one request at a time. httpx costs ten times the CPU."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[ApiReply] | None = None
        self._start()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._retry_after = bytearray(), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not registered as one

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._fail(ConnectionError(str(error or "the edge hung up")))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        reply = ApiReply(self._parser.get_status_code(), bytes(self._body), self._retry_after)
        if not self._parser.should_keep_alive():
            self.close()
        self._start()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)

    def _fail(self, error: ConnectionError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    async def ask(self, request: bytes) -> ApiReply:
        if self.transport is None:
            raise ConnectionError("the edge hung up")
        self._reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._reply

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
            self.transport = None


@dataclass(slots=True)
class PublicApi:
    """At most `at_once_max` requests are under way. `repeats` counts those sent again.

    What was not answered, or answered with "later", is sent again with the same key for up to
    REPEAT_SECONDS_MAX, then raises NoAnswer; what was refused raises Refused.
    """

    url: str
    token: str = field(repr=False)
    at_once_max: int = 48
    repeats: int = 0
    _idle: list[HttpConnection] = field(default_factory=list)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(self.at_once_max)

    @classmethod
    def of(cls, folder: Folder, user: str, *, at_once_max: int = 48) -> "PublicApi":
        """As `user`, whose token is in the folder, at the edge of the bank that is up; NoBank."""
        running = state.ready(folder.state)
        if running is None:
            raise NoBank(f"no bank is up in {folder.root}: start it with ./cbs up")
        return cls(running.edge_url, folder.token(user).read_text().strip(), at_once_max)

    async def get(self, path: str, answer: type[T]) -> T:
        return _read(await self._until_answered(self._encoded("GET", path, b"", "")), answer)

    async def post(self, path: str, body: object, answer: type[T], *, key: str) -> T:
        """Ask for a change, under a key of the caller's choice."""
        text = b"" if body is None else msgspec.json.encode(body)
        return _read(await self._until_answered(self._encoded("POST", path, text, key)), answer)

    async def once(self, method: str, path: str, body: object = None, *, key: str = "") -> ApiReply:
        """One try, whatever the bank answers; raises OSError and TimeoutError if it does not."""
        text = b"" if body is None else msgspec.json.encode(body)
        return await self._exchange(self._encoded(method, path, text, key))

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _encoded(self, method: str, path: str, body: bytes, key: str) -> bytes:
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {urlsplit(self.url).netloc}",
            f"Authorization: Bearer {self.token}",
        ]
        if method != "GET":
            head += [f"Idempotency-Key: {key}", f"Content-Length: {len(body)}"]
        if body:
            head.append("Content-Type: application/json")
        return "\r\n".join([*head, "", ""]).encode() + body

    async def _until_answered(self, request: bytes) -> ApiReply:
        clock = asyncio.get_running_loop().time
        until = clock() + REPEAT_SECONDS_MAX
        for tries in itertools.count():
            try:
                reply = await self._exchange(request)
                if reply.status not in REPEATED:
                    return reply
                why = str(refusal_of(reply))
            except (OSError, TimeoutError) as error:
                why = str(error) or "it took too long"
            wait = min(WAIT_SECONDS_MIN * 2**tries, WAIT_SECONDS_MAX)
            if clock() + wait > until:
                break
            self.repeats += 1
            await asyncio.sleep(wait)
        raise NoAnswerFromBank(f"no answer from {self.url} in {REPEAT_SECONDS_MAX:.0f} s: {why}")

    async def _exchange(self, request: bytes) -> ApiReply:
        async with self._room, asyncio.timeout(REQUEST_SECONDS_MAX):
            connection = await self._connection()
            try:
                reply = await connection.ask(request)
            except BaseException:
                connection.close()
                raise
            if connection.transport is not None:
                self._idle.append(connection)
            return reply

    async def _connection(self) -> HttpConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None:
                return connection
        place = urlsplit(self.url)
        assert place.hostname and place.port, self.url
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(HttpConnection, place.hostname, place.port)
        return connection


def _read(reply: ApiReply, answer: type[T]) -> T:
    if not reply.is_success:
        raise refusal_of(reply)
    return msgspec.json.decode(reply.body, type=answer)


def refusal_of(reply: ApiReply) -> RefusedByBank:
    try:
        problem = msgspec.json.decode(reply.body, type=ApiProblem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = ApiProblem()
    problem.status = reply.status
    if not problem.type:
        problem.type, problem.title = f"http-{reply.status}", reply.body[:200].decode("latin-1")
    return RefusedByBank(problem)
