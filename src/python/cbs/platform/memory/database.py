"""A database in memory: what is not committed is undone, and every call to it can be the last.

Stores at the ports keep their rows in its tables, as they are in the domain. Transactions run one
at a time, so what PostgreSQL does with two at once is for tests on PostgreSQL.
"""

import asyncio
from collections import UserDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cbs.platform.database import Transactions

K = TypeVar("K")
V = TypeVar("V")

_ABSENT = object()


class Table(UserDict[K, V]):
    """Rows by key: put whole rows, in a transaction; a row that is in it is never changed."""

    def __init__(self, server: "MemoryServer", rows: Mapping[K, V]) -> None:
        super().__init__()
        self.data, self.server = dict(rows), server

    def __setitem__(self, key: K, row: V) -> None:
        self._note(key)
        self.data[key] = row

    def __delitem__(self, key: K) -> None:
        self._note(key)
        del self.data[key]

    def _note(self, key: K) -> None:
        writer = self.server.writer
        assert writer is not None and writer is _CONNECTION.get(), "this needs a transaction"
        rows: dict[Any, Any] = self.data
        self.server.undo_log.append((rows, key, rows.get(key, _ABSENT)))

    def uncommitted(self, key: K) -> bool:
        """Whether an open transaction put this row there."""
        return any(each[0] is self.data and each[1] == key for each in self.server.undo_log)


async def _at_once() -> None:
    await asyncio.sleep(0)


@dataclass(slots=True, eq=False, kw_only=True)
class MemoryServer:
    """One service's tables and who is connected; it outlives the service's processes.

    `way` is what a statement takes to get here, `committed` is called after each commit. The next
    `commits_to_lose` are not answered: each took effect, unless they are lost before that.
    """

    way: Callable[[], Awaitable[None]] = _at_once
    committed: Callable[[], None] = lambda: None
    reachable: bool = True
    commits_to_lose: int = 0
    lose_before: bool = False
    tables: dict[str, Table[Any, Any]] = field(default_factory=dict)
    undo_log: list[tuple[dict[Any, Any], Any, Any]] = field(default_factory=list)
    serials: dict[str, int] = field(default_factory=dict)
    locks: "dict[str, Connection]" = field(default_factory=dict)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    writer: "Connection | None" = None
    connections: "dict[Connection, None]" = field(default_factory=dict)  # in order

    def table(self, name: str, rows: Mapping[Any, Any] | None = None) -> Table[Any, Any]:
        """`rows` are in it from the first."""
        if name not in self.tables:
            self.tables[name] = Table(self, rows or {})
        return self.tables[name]

    def rows(self, name: str) -> Mapping[Any, Any]:
        """What is in the table now, committed or not, for who looks from outside."""
        return self.tables[name].data if name in self.tables else {}

    def next_serial(self, name: str) -> int:
        """As a sequence: never given back, not even by a rollback."""
        self.serials[name] = self.serials.get(name, 0) + 1
        return self.serials[name]

    def cut(self) -> None:
        """Every connection is lost, in whatever it was doing."""
        for connection in list(self.connections):
            connection.lose()

    def undo(self, mark: int = 0) -> None:
        while len(self.undo_log) > mark:
            rows, key, before = self.undo_log.pop()
            if before is _ABSENT:
                del rows[key]
            else:
                rows[key] = before


class Connection:
    """What is open when it is lost or closed is undone."""

    def __init__(self, server: MemoryServer) -> None:
        self.server, self.lost = server, False
        server.connections[self] = None

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.end(keep=False)
            del self.server.connections[self]
            for name in [name for name, owner in self.server.locks.items() if owner is self]:
                del self.server.locks[name]

    def end(self, *, keep: bool) -> None:
        server = self.server
        if server.writer is not self:
            return
        if keep:
            server.undo_log.clear()
        else:
            server.undo()
        server.writer = None
        server.busy.release()
        if keep:
            server.committed()

    async def travel(self) -> None:
        if not self.lost:
            await self.server.way()
        if self.lost:
            raise ConnectionResetError("the connection to the database is lost")

    async def look(self) -> None:
        """What its caller reads before it next waits is what is committed, or its own."""
        await self.travel()
        if self.server.writer not in (None, self):
            async with self.server.busy:
                if self.lost:
                    raise ConnectionResetError("the connection to the database is lost")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self.travel()
        await self.server.busy.acquire()
        if self.lost:
            self.server.busy.release()
            raise ConnectionResetError("the connection to the database is lost")
        self.server.writer = self
        mark = _CONNECTION.set(self)
        try:
            yield
            await self._commit()
        finally:
            self.end(keep=False)
            _CONNECTION.reset(mark)

    async def _commit(self) -> None:
        await self.travel()
        server = self.server
        if server.commits_to_lose:
            server.commits_to_lose -= 1
            self.end(keep=not server.lose_before)
            self.lose()
        else:
            self.end(keep=True)
        await self.travel()


_CONNECTION: ContextVar[Connection | None] = ContextVar("connection", default=None)


@dataclass(slots=True, eq=False, kw_only=True)
class MemoryDatabase:
    """One process's way to its server, as long as it is `alive`."""

    server: MemoryServer = field(default_factory=MemoryServer)
    alive: Callable[[], bool] = lambda: True
    opened: bool = False

    async def open(self, *, patiently: bool = False) -> None:
        self.opened = True

    async def close(self) -> None:
        self.opened = False

    def table(self, name: str, rows: Mapping[Any, Any] | None = None) -> Table[Any, Any]:
        return self.server.table(name, rows)

    @property
    def in_transaction(self) -> bool:
        connection = _CONNECTION.get()
        return connection is not None and connection.server is self.server

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        if not (self.opened and self.server.reachable and self.alive()):
            await self.server.way()
            raise ConnectionRefusedError("the database cannot be reached")
        connection = Connection(self.server)
        try:
            yield connection
        finally:
            connection.lose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        assert not self.in_transaction, "transactions do not nest"
        async with self.connected() as connection, connection.transaction():
            yield

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        connection = await self._joined()
        mark = len(self.server.undo_log)
        try:
            yield
        except BaseException:
            if not connection.lost:
                self.server.undo(mark)
            raise

    async def call(self) -> None:
        """Every method of a store begins with it: there and back, in the caller's transaction if
        there is one. What the method reads and writes before it next waits is of one moment."""
        if self.in_transaction:
            await self._joined()
        else:
            async with self.connected() as connection:
                await connection.look()

    async def _joined(self) -> Connection:
        connection = _CONNECTION.get()
        assert connection is not None and connection.server is self.server, "needs a transaction"
        await connection.travel()
        return connection


def memory_of(database: Transactions) -> MemoryDatabase:
    assert isinstance(database, MemoryDatabase), database
    return database
