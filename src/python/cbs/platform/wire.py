"""What uvicorn leaves open on a connection is bounded here: how long a request may take to arrive,
how large its head may be; and who has stopped sending is still answered."""

import asyncio
from typing import Any

import msgspec
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cbs.platform.problem import MEDIA_TYPE, Problem

# Shorter than edge.REQUEST_SECONDS_MAX: who is slow is told so, not that the bank was.
ARRIVAL_SECONDS_MAX = 8.0
SWEEP_SECONDS = 1.0
HEAD_BYTES_MAX, HEADERS_MAX = 64 * 1024, 100

log = structlog.get_logger()

PROBLEMS = {
    400: ("malformed", "The request is not HTTP as it stands."),
    408: ("too-slow", "The request took too long to arrive; ask again with the same key."),
    431: ("too-large", "The request's headers are too many or too long."),
}


class Wire(HttpToolsProtocol):
    """One connection. `incomplete_since` is when the request began that has not wholly arrived."""

    incomplete_since: float | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.incomplete_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
        elif (began := self._head_bytes + len(data)) > HEAD_BYTES_MAX:
            self.refuse(431)
        else:
            self._head_bytes = began

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self.incomplete_since is None:
            self.incomplete_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.headers) > HEADERS_MAX:
            self.refuse(431)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.incomplete_since = None
        if self.cycle is not None:
            super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Half closed: what has wholly arrived is answered, then the connection ends."""
        waiting = self.cycle is not None and not self.cycle.response_complete
        if waiting and self.incomplete_since is None:
            for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
                cycle.keep_alive = False
            return True
        return False

    def send_400_response(self, msg: str) -> None:
        self.refuse(400)

    def refuse(self, status: int) -> None:
        """Say so, unless an answer has begun, and hang up."""
        if self.transport.is_closing():
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
