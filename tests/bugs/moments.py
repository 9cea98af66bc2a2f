"""What comes by chance, made to come: a lock that is held, a COMMIT without an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Ledger
from cbs.ledger.domain.transaction import Order
from cbs.platform.database import Database, Transaction
from tests.ledger.test_book import Opened

PATIENCE_SECONDS = 30
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()"""
LOCK = "SELECT FROM account WHERE number = $1 FOR NO KEY UPDATE"


@dataclass
class Other:
    """A transaction of somebody else's, on a connection of its own."""

    connection: Any

    async def lock(self, number: str, *, nowait: bool = False) -> None:
        await self.connection.execute(LOCK + " NOWAIT" * nowait, number)

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._waiting() < count:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)

    async def _waiting(self) -> int:
        # Else a transaction sees only the connections that were there when it first looked.
        await self.connection.execute("SELECT pg_stat_clear_snapshot()")
        return int(await self.connection.fetchval(WAITING))


def database_of(opened: Opened) -> Database:
    database = opened.book.database  # type: ignore[attr-defined]
    assert isinstance(database, Database)
    return database


@asynccontextmanager
async def holding(database: Database, number: str = "") -> AsyncIterator[Other]:
    """Somebody has this account locked until the end."""
    connection = await asyncpg.connect(database.config["dsn"])
    try:
        async with connection.transaction():
            other = Other(connection)
            if number:
                await other.lock(number)
            yield other
    finally:
        await connection.close()


@contextmanager
def commit_lost(*, done: bool) -> Iterator[None]:
    """At the next COMMIT the connection breaks; it was `done`, or not: nobody is told which."""
    commit, lost = Transaction.commit, list[Transaction]()

    async def losing(transaction: Transaction) -> None:
        if lost:
            await commit(transaction)
            return
        lost.append(transaction)
        await (commit(transaction) if done else transaction.rollback())
        raise ConnectionResetError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "commit", losing)
        yield
    assert lost, "nothing was committed"


async def until(count: int, counted: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await counted() < count:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)


async def status(opened: Opened, order: Order) -> int:
    """What a caller is told: 503 for what is not known."""
    try:
        answer: Answer = await Ledger(book=opened.book).post(order)
    except Refusal:
        return 503
    return answer.status


async def told(opened: Opened) -> int:
    """How many transactions the facts tell of."""
    facts = await opened.book.outbox.after(0, limit=256)  # type: ignore[attr-defined]
    return sum(subject.endswith(".transaction-posted") for _, subject, _ in facts)
