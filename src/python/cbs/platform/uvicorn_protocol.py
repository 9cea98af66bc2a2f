"""What uvicorn leaves open on a connection is bounded here: how long a request may take to arrive,
how large its head may be; and who has stopped sending is still answered."""

import asyncio
from typing import Any

import httptools
import msgspec
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cbs.platform.problem import MEDIA_TYPE, Problem

# Shorter than admission.REQUEST_SECONDS_MAX: who is slow is told so, not that the bank was.
ARRIVAL_SECONDS_MAX = 8.0
SWEEP_SECONDS = 1.0
HEAD_BYTES_MAX, HEADERS_MAX = 64 * 1024, 100

log = structlog.get_logger()

PROBLEMS = {
    400: ("malformed", "The request is not HTTP as it stands."),
    408: ("too-slow", "The request took too long to arrive; ask again with the same key."),
    431: ("too-large", "The request's headers are too many or too long."),
}


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. `incomplete_since` is when the request began that has not wholly arrived."""

    incomplete_since: float | None = None
    _head_bytes = 0
    _in_head = _begun = _is_large = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.incomplete_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self._is_large = self._head_bytes + len(data) > HEAD_BYTES_MAX
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
        elif self._is_large:
            self.refuse(431)
        else:
            self._head_bytes += len(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._begun = True
        if self.incomplete_since is None:
            self.incomplete_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.headers) > HEADERS_MAX or (self._is_large and self._head_is_large):
            self.refuse(431)
            raise httptools.HttpParserError("the head is too large")  # ends the parsing
        super().on_headers_complete()

    @property
    def _head_is_large(self) -> bool:
        return len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > HEAD_BYTES_MAX

    def on_message_complete(self) -> None:
        self.incomplete_since, self._begun = None, False
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Half closed: what has wholly arrived is answered, what has not is refused; the end."""
        if self._begun:
            self.refuse(400)
        elif self._owes_an_answer:
            self.cycle.keep_alive = False
        return self._owes_an_answer and not self.transport.is_closing()

    @property
    def _owes_an_answer(self) -> bool:
        """Something that has wholly arrived is not answered yet."""
        cycle = self.cycle
        waiting = cycle is not None and not cycle.response_complete and not cycle.more_body
        return waiting or bool(self.pipeline)

    def send_400_response(self, msg: str) -> None:
        self.refuse(400)

    def refuse(self, status: int) -> None:
        """Say so, unless an answer has begun, and hang up."""
        if self.transport.is_closing():
            return
        if self._owes_an_answer:
            # The caller would take this no for the answer to what came before.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_answer(status))
        self.transport.close()


def _answer(status: int) -> bytes:
    code, title = PROBLEMS[status]
    body = msgspec.json.encode(Problem(type=f"urn:cbs:{code}", title=title, status=status))
    head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return STATUS_LINE[status] + head.encode() + body


async def sweep(server: uvicorn.Server) -> None:
    """End what takes too long to arrive, until cancelled. One timer for all connections: one for
    each request would cost every request."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        late = loop.time() - ARRIVAL_SECONDS_MAX
        connections: set[Any] = server.server_state.connections
        for connection in list(connections):
            if (connection.incomplete_since or late) < late:
                log.info("too-slow", client=connection.client)
                connection.refuse(408)
