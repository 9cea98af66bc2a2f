"""asyncpg as the platform's Database uses it, with the faults of a network and a server.

Transactions of one database run one at a time: lock order and what lives in SQL belong to the race
tests on real PostgreSQL. The pool has no bound.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import asyncpg

from cbs.platform.database import Database
from cbs.platform.outbox import LOCK, UNLOCK
from cbs.simulation.loop import pause
from cbs.simulation.statements import understood
from cbs.simulation.tables import Row, Tables


@dataclass(slots=True, eq=False)
class Server:
    """One service's database; it outlives the service. `delay` is a statement's way."""

    tables: Tables
    delay: Callable[[], float]
    reachable: bool = True
    commits_to_lose: int = 0
    lose_before: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    connections: "set[Connection]" = field(default_factory=set)
    relays_with: "Connection | None" = None
    committed: Callable[[], None] = lambda: None

    def cut(self) -> None:
        """Every connection is lost, in whatever it was doing."""
        for connection in sorted(self.connections, key=lambda each: each.number):
            connection.lose()


class Connection:
    made = 0

    def __init__(self, server: Server) -> None:
        Connection.made += 1
        self.number = Connection.made
        self.server = server
        self.lost = False
        self.failed = False
        self.owns: bool = False
        self.levels: list[int] = []
        server.connections.add(self)

    def lose(self) -> None:
        """The server undoes what is open, and forgets the connection."""
        if not self.lost:
            self.lost = True
            self._end(keep=False)
            self.server.connections.discard(self)
            if self.server.relays_with is self:
                self.server.relays_with = None

    def abandon(self) -> None:
        """What is open when it is given back is undone."""
        self._end(keep=False)

    def is_closed(self) -> bool:
        return self.lost

    def terminate(self) -> None:
        self.lose()

    async def close(self) -> None:
        self.lose()

    async def travel(self) -> None:
        if self.lost:
            raise asyncpg.InterfaceError("connection is closed")
        await pause(self.server.delay())
        if self.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")

    async def _run(self, sql: str, values: Sequence[object]) -> tuple[list[Row], str]:
        await self.travel()
        if sql == LOCK:
            return [{"locked": self._lock_relay()}], "SELECT 1"
        if sql == UNLOCK:
            mine = self.server.relays_with is self
            self.server.relays_with = None if mine else self.server.relays_with
            return [{"unlocked": mine}], "SELECT 1"
        if self.levels:
            return self._execute(sql, values)
        async with self.server.busy:
            if self.lost:
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")
            rows, done = self._execute(sql, values)
            self.server.tables.keep()
        self.server.committed()
        return rows, done

    def _execute(self, sql: str, values: Sequence[object]) -> tuple[list[Row], str]:
        if self.failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        mark = self.server.tables.mark
        try:
            return understood(sql)(self.server.tables, values)
        except asyncpg.PostgresError:
            self.server.tables.undo(mark)
            self.failed = bool(self.levels)
            raise

    def _lock_relay(self) -> bool:
        if self.server.relays_with in (None, self):
            self.server.relays_with = self
        return self.server.relays_with is self

    async def fetch(self, sql: str, *values: object) -> list[Row]:
        return (await self._run(sql, values))[0]

    async def fetchrow(self, sql: str, *values: object) -> Row | None:
        rows = await self.fetch(sql, *values)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *values: object) -> Any:
        row = await self.fetchrow(sql, *values)
        return next(iter(row.values())) if row else None

    async def execute(self, sql: str, *values: object) -> str:
        return (await self._run(sql, values))[1]

    def transaction(self) -> "Transaction":
        return Transaction(self)

    def _end(self, *, keep: bool) -> None:
        if not self.owns:
            return
        tables = self.server.tables
        if keep:
            tables.keep()
        else:
            tables.undo()
        self.owns, self.failed, self.levels = False, False, []
        self.server.busy.release()

    async def begin(self) -> None:
        await self.travel()
        await self.server.busy.acquire()
        if self.lost:
            self.server.busy.release()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")
        self.owns = True
        self.levels.append(0)

    async def commit(self) -> None:
        await self.travel()
        server = self.server
        if server.commits_to_lose:
            server.commits_to_lose -= 1
            if not server.lose_before:
                self._end(keep=True)
                server.committed()
            self.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed while committing")
        self._end(keep=not self.failed)
        server.committed()
        await pause(server.delay())
        if self.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed while committing")

    async def rollback(self) -> None:
        await self.travel()
        self._end(keep=False)


class Transaction:
    """The outer one, or a savepoint in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def start(self) -> None:
        if self.connection.levels:
            await self.connection.travel()
            self.connection.levels.append(self.connection.server.tables.mark)
        else:
            await self.connection.begin()

    async def commit(self) -> None:
        if len(self.connection.levels) > 1:
            await self.connection.travel()
            self.connection.levels.pop()
        else:
            await self.connection.commit()

    async def rollback(self) -> None:
        connection = self.connection
        if len(connection.levels) > 1:
            await connection.travel()
            connection.server.tables.undo(connection.levels.pop())
            connection.failed = False
        else:
            await connection.rollback()

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await (self.commit() if kind is None else self.rollback())


class Acquired:
    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self.pool.connect().__await__()

    async def __aenter__(self) -> Connection:
        self.connection = await self.pool.connect()
        return self.connection

    async def __aexit__(self, *_: object) -> None:
        assert self.connection is not None
        await self.pool.release(self.connection)


class Pool:
    """Connections are used again as they were given back: a lock is on them until it is undone."""

    def __init__(self, server: Server, alive: Callable[[], bool]) -> None:
        self.server, self.alive = server, alive
        self.idle: list[Connection] = []

    def acquire(self) -> Acquired:
        return Acquired(self)

    async def connect(self) -> Connection:
        if not (self.server.reachable and self.alive()):
            await pause(self.server.delay())
            raise ConnectionRefusedError("the database cannot be reached")
        self.idle = [each for each in self.idle if not each.lost]
        return self.idle.pop() if self.idle else Connection(self.server)

    async def release(self, connection: Connection) -> None:
        connection.abandon()
        if not connection.lost:
            self.idle.append(connection)

    async def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        for connection in self.idle:
            connection.lose()


class SimulatedDatabase(Database):
    """The platform's own, but for what it connects to."""

    def __init__(self, server: Server, alive: Callable[[], bool]) -> None:
        super().__init__("postgresql://simulated")
        self._pool_of: Callable[[], Pool] = lambda: Pool(server, alive)

    async def open(self, *, patiently: bool = False) -> None:
        self.pool = self._pool_of()

    async def get_new_connection(self) -> Any:
        """What piccolo turns to without a pool: this database was closed."""
        raise ConnectionRefusedError("the database is closed")
