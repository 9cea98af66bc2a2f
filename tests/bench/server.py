"""An edge that answers at once, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec


@dataclass
class Edge:
    """Answers `status`; hangs up instead of every `hang_up_each`-th answer, if that is not 0."""

    status: int = 201
    hang_up_each: int = 0
    retry_after: str = ""
    url: str = ""
    connections: int = 0
    keys: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    bodies: list[dict[str, object]] = field(default_factory=list)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(fields["Content-Length"]))
        self.keys.append(fields["Idempotency-Key"])
        self.tokens.add(fields["Authorization"])
        self.bodies.append(msgspec.json.decode(body))
        if self.hang_up_each and len(self.keys) % self.hang_up_each == 0:
            return False
        when = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        said = f"HTTP/1.1 {self.status} X\r\n{when}Content-Length: 2\r\n\r\n"
        writer.write(f"{said}{{}}".encode())
        return True


@asynccontextmanager
async def listening(edge: Edge) -> AsyncIterator[Edge]:
    server = await asyncio.start_server(edge.meet, "127.0.0.1", 0)
    async with server:
        edge.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield edge
