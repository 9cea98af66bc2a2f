"""A link leads from one part of a bank to another through here, where it can be broken.

The parts notice nothing but what a network could do to them. Links run in a thread of their own, so
that a busy client slows none of them down; what is called from outside only sets them.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import uvloop

from cbs.bank import SERVICES

BACKLOG, CONNECT_SECONDS_MAX = 512, 5.0
# PostgreSQL's protocol: the query that asyncpg ends a transaction with, and what answers it.
COMMIT, COMMITTED = b"Q\0\0\0\x0cCOMMIT;\0", b"C\0\0\0\x0bCOMMIT\0"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, and tell the other side so
PAIRS = (
    ("clients", "edge"),
    *(("edge", service) for service in SERVICES),
    *((service, server) for service in SERVICES for server in ("postgres", "nats")),
)
NAMES = tuple(f"{one} {other}" for one, other in PAIRS)


class _End(asyncio.Protocol):
    """One end of a passage. What it hears, its peer says, in order, not before it is due."""

    def __init__(self, link: "FaultyLink", *, asks: bool) -> None:
        self.link, self.asks = link, asks
        self.peer: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._due: deque[tuple[float, bytes]] = deque()
        self._early = bytearray()
        self._ending = self._full = self.commits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not registered as one
        self.link.ends.add(self)
        if self.asks:
            self.transport.pause_reading()
            self.link.entered(self)

    def data_received(self, data: bytes) -> None:
        if self.peer is None:  # uvloop may read what it was told not to, at first
            self._early += data
            return
        if self.asks and self.link.takes_commit and COMMIT in data:
            self.link.takes_commit, self.peer.commits = False, True
        elif not self.asks and self.commits:
            self.commits = False
            if COMMITTED in data:
                self.link.commits_taken += 1
                self.link.reset(self)
                return
            self.link.takes_commit = True
        self.peer.say(data, self.link.delay_seconds)

    def meet(self, peer: "_End") -> None:
        self.peer = peer
        if self._early:
            peer.say(bytes(self._early), self.link.delay_seconds)
            self._early.clear()

    def say(self, data: bytes, delay_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        last = self._due[-1][0] if self._due else 0.0
        at = max(loop.time() + delay_seconds, last)
        if delay_seconds == 0 and not self._due:
            self._write(data)
            return
        self._due.append((at, data))
        loop.call_at(at, self._say_next)

    def _say_next(self) -> None:
        if self._due:
            self._write(self._due.popleft()[1])
        if self._ending and not self._due and self.transport is not None:
            self.transport.close()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def pause_writing(self) -> None:
        self._full = True
        if self.peer is not None:
            self.peer.listen()

    def resume_writing(self) -> None:
        self._full = False
        if self.peer is not None:
            self.peer.listen()

    def listen(self) -> None:
        """Read on, or not: while the link is stalled, or the peer cannot say more at present."""
        if self.transport is None or self.transport.is_closing():
            return
        stops = self.link.stalled or self.peer is None or self.peer._full
        with suppress(RuntimeError):  # of an older loop: it does so already
            (self.transport.pause_reading if stops else self.transport.resume_reading)()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.link.ends.discard(self)
        if self.peer is None:
            return
        if error is not None:
            self.peer.reset()
        else:
            self.peer.end()

    def end(self) -> None:
        """Close, when all has been said."""
        self._ending = True
        if not self._due and self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        self._due.clear()
        if self.transport is not None:
            place = self.transport.get_extra_info("socket")
            with suppress(OSError):
                place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()


@dataclass(slots=True)
class FaultyLink:
    """From `listening` to the port of whom it leads to. All is set from its own thread."""

    listening: socket.socket
    port_of_other: Callable[[], int]
    severed: bool = False
    stalled: bool = False
    delay_seconds: float = 0
    takes_commit: bool = False
    commits_taken: int = 0
    ends: set[_End] = field(default_factory=set)
    _entering: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    async def open(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        end = partial(_End, self, asks=True)
        return await loop.create_server(end, sock=self.listening, backlog=BACKLOG)

    def entered(self, end: _End) -> None:
        task = asyncio.create_task(self._lead(end))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _lead(self, end: _End) -> None:
        if self.severed:
            end.reset()
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                _, peer = await loop.create_connection(
                    lambda: _End(self, asks=False), "127.0.0.1", self.port_of_other()
                )
        except (OSError, KeyError):  # a TimeoutError, too; or the bank has no ports yet
            end.reset()
            return
        if end.transport is None or self.severed:
            peer.reset()
            end.reset()
            return
        end.meet(peer)
        peer.meet(end)
        end.listen()
        peer.listen()

    def sever(self, severed: bool) -> None:
        """Reset all connections and every new one, until it is allowed again."""
        self.severed = severed
        if severed:
            for end in tuple(self.ends):
                end.reset()

    def stall(self, stalled: bool) -> None:
        """Let nothing through, and lose nothing: it all arrives late."""
        self.stalled = stalled
        for end in tuple(self.ends):
            end.listen()

    def slow(self, seconds: float) -> None:
        """Everything takes so much longer, each link."""
        self.delay_seconds = seconds

    def take_commit(self, takes: bool) -> None:
        """Cut the next connection that commits when it has been committed, before it is said."""
        self.takes_commit = takes

    def reset(self, end: _End) -> None:
        peer = end.peer
        end.reset()
        if peer is not None:
            peer.reset()


@dataclass(slots=True, kw_only=True)
class FaultyNetwork:
    """Links by the names of whom they join, as `ledger postgres`; `ports` is where each begins."""

    by_name: Mapping[str, FaultyLink]
    _loop: Any = None

    @property
    def ports(self) -> dict[str, int]:
        return {name: link.port for name, link in self.by_name.items()}

    def set(self, change: Callable[..., None], value: object) -> None:
        """Have a link changed, as in `set(link.sever, True)`."""
        self._loop.call_soon_threadsafe(change, value)

    async def serve(self, opened: threading.Event, closing: asyncio.Event) -> None:
        servers = [await link.open() for link in self.by_name.values()]
        opened.set()
        await closing.wait()
        for server in servers:
            server.close()
        for link in self.by_name.values():
            link.sever(True)


@contextmanager
def opened(port_of: Callable[[str], int]) -> Iterator[FaultyNetwork]:
    """A link for each of the PAIRS; `port_of` a part may raise OSError while it has none."""
    links = FaultyNetwork(by_name={f"{one} {other}": _way(port_of, other) for one, other in PAIRS})
    ready, closing = threading.Event(), asyncio.Event()

    async def serve() -> None:
        links._loop = asyncio.get_running_loop()
        await links.serve(ready, closing)

    thread = threading.Thread(target=uvloop.run, args=(serve(),), name="links", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield links
    finally:
        links._loop.call_soon_threadsafe(closing.set)
        thread.join()


def _way(port_of: Callable[[str], int], other: str) -> FaultyLink:
    # Named as TCP: asyncio sends at once what is written to such a socket, and to no other.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return FaultyLink(listening, lambda: port_of(other))
