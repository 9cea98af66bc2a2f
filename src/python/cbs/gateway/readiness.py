"""Two paths on a port of their own: a probe has no token, and the public port wants one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

REQUEST_SECONDS_MAX = 2


@asynccontextmanager
async def answering(
    host: str, port: int, state: Callable[[], Awaitable[str]]
) -> AsyncIterator[None]:
    """Answer /health/live with 200, and /health/ready with 200 while the state is `ready`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who asks badly, too slowly or goes away gets no answer.
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answer(head.split(b" ", 2)[1], state))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    try:
        yield
    finally:
        server.close()


async def _answer(path: bytes, state: Callable[[], Awaitable[str]]) -> bytes:
    if path == b"/health/live":
        status, said = 200, "alive"
    elif path == b"/health/ready":
        said = await state()
        status = 200 if said == "ready" else 503
    else:
        status, said = 404, "no-such-resource"
    body = json.dumps({"service": "gateway", "status": said}).encode()
    head = (
        f"HTTP/1.1 {status} {said}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
