"""Piccolo's engine with its surprises removed, and asyncpg on the same connections.

Piccolo 1.38 keeps the pool's connection when BEGIN or COMMIT itself fails or is cancelled, and
turns a nested transaction into a no-op. Here the connection always goes back, and nesting is
refused.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Protocol

import asyncpg
import structlog
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction
from piccolo.querystring import QueryString
from piccolo.table import Table

from cbs.platform.telemetry import span

STATEMENT_SECONDS_MAX = 20
RECONNECT_SECONDS_MAX, CLOSE_SECONDS_MAX = 5.0, 5.0
UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says of a connection that was cut while idle
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DiskFullError,
    asyncio.TimeoutError,
)

log = structlog.get_logger()


class Transactions(Protocol):
    """What is done between the beginning and the end of a transaction is durable together, and
    seen by others only then; or it never was, whatever becomes of the connection meanwhile.

    A transaction belongs to the task that began it. What is asked outside of one is a transaction
    of its own. Raises what is in UNREACHABLE when the outcome is not known, or nothing happened.
    """

    async def open(self, *, patiently: bool = False) -> None: ...
    async def close(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Ends durable, or undone if it ends with an error. A second one inside it is refused."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """Inside a transaction: what is done in it is undone if it ends with an error."""
        ...


async def _as_it_is(_: Any) -> None:
    """Instead of asyncpg's RESET ALL at each release, a round trip: nothing of ours is set."""


class Transaction(PostgresTransaction):
    """Joins every query of this task to one connection; a second one inside it is refused."""

    async def __aenter__(self) -> PostgresTransaction:
        if self._parent is not None:
            return self._parent
        self.connection = await self.get_connection()
        try:
            self.transaction = self.connection.transaction()
            await self.begin()
        except BaseException:
            await self._give_back()
            raise
        self.context = self.engine.current_transaction.set(self)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if self._parent is not None:
            return False
        try:
            await (self.commit() if exception is None else self._undo())
        finally:
            self.engine.current_transaction.reset(self.context)
            await self._give_back()
        return False

    async def _give_back(self) -> None:
        if self.engine.pool:
            await self.engine.pool.release(self.connection)
        else:
            await self.connection.close()

    async def _undo(self) -> None:
        # A connection that is gone has rolled back by itself; its error must not hide the cause.
        if self.connection.is_closed():
            return
        try:
            await self.rollback()
        except UNREACHABLE:
            self.connection.terminate()


class Database(PostgresEngine):
    """One service's database. `bind` its tables to it before they are used."""

    def __init__(self, url: str, *, connections_max: int = 8) -> None:
        super().__init__(
            config={"dsn": url, "command_timeout": STATEMENT_SECONDS_MAX}, extensions=()
        )
        self._connections_max = connections_max

    async def check_version(self) -> None:
        """Piccolo would connect from the constructor, to print a warning."""

    async def prep_database(self) -> None:
        """Piccolo would make extensions, which needs rights that a service does not have."""

    async def open(self, *, patiently: bool = False) -> None:
        """Connect; `patiently` waits for a server that is still starting or is being restarted."""
        pause = 0.1
        while True:
            try:
                await self.start_connection_pool(
                    min_size=1, max_size=self._connections_max, reset=_as_it_is
                )
                return
            except UNREACHABLE as error:
                if not patiently:
                    raise
                log.warning("database-unreachable", error=repr(error), again_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RECONNECT_SECONDS_MAX)

    async def close(self) -> None:
        if self.pool:
            try:
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await self.pool.close()
            except TimeoutError:
                self.pool.terminate()
            self.pool = None

    def bind(self, *tables: type[Table]) -> None:
        for table in tables:
            table._meta.db = self

    def transaction(self, allow_nested: bool = False) -> Transaction:
        return Transaction(engine=self, allow_nested=allow_nested)

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        nested: AbstractAsyncContextManager[Any] = self.connection.transaction()
        return nested

    @property
    def connection(self) -> Any:
        """The asyncpg connection of the transaction that this task is in."""
        transaction = self.current_transaction.get()
        assert transaction is not None, "this needs a transaction"
        return transaction.connection

    @property
    def in_transaction(self) -> bool:
        return self.current_transaction.get() is not None

    @asynccontextmanager
    async def acquired(self) -> AsyncIterator[Any]:
        """The transaction's connection if there is one, else one from the pool."""
        if (transaction := self.current_transaction.get()) is not None:
            yield transaction.connection
        else:
            assert self.pool is not None, "the database is not open"
            async with self.pool.acquire() as connection:
                yield connection

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Any:
        with span("sql", kind="client", statement=str(querystring.template)):
            return await super().run_querystring(querystring, in_pool)

    async def fetch(self, sql: str, *values: object) -> Sequence[Any]:
        with span("sql", kind="client", statement=sql):
            async with self.acquired() as connection:
                rows: Sequence[Any] = await connection.fetch(sql, *values)
                return rows

    async def fetchrow(self, sql: str, *values: object) -> Any:
        rows = await self.fetch(sql, *values)
        return rows[0] if rows else None

    async def execute(self, sql: str, *values: object) -> None:
        with span("sql", kind="client", statement=sql):
            async with self.acquired() as connection:
                await connection.execute(sql, *values)
