"""The write path on real PostgreSQL: in which order it takes its locks, and what it says when it
does not know."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Unavailable
from cbs.ledger.application.book import BatchAborted, OutcomeUnknown
from cbs.ledger.store.write_path import TRIES_MAX, WritePath
from cbs.platform.context import SOURCES, now
from cbs.platform.database import Database, Transaction
from tests.conftest import Database as Place
from tests.ledger.orders import order
from tests.ledger.test_book import Opened, book_on

ZOE, ADA = "zoe", "ada"
HALF_CLAIMED = """
    INSERT INTO request (principal, key, fingerprint, asked_at) VALUES ('tara', $1, '', now())"""


class LostBefore(Transaction):
    """The connection is gone when it is to commit."""

    async def commit(self) -> None:
        self.connection.terminate()
        raise ConnectionResetError


class LostAfter(Transaction):
    """It has committed, and the answer is lost."""

    async def commit(self) -> None:
        await super().commit()
        raise ConnectionResetError


@pytest.fixture
def place(database: Callable[[str], Place]) -> Place:
    return database("ledger")


@pytest.fixture
async def book(place: Place) -> AsyncIterator[Opened]:
    """Zoe, whom the bank has known for longer, holds 100; Ada nothing."""
    async with book_on(place.runtime_url) as opened:
        await opened.set(ZOE)
        await opened.set(ADA)
        await opened.fund(ZOE, 100)
        yield opened


@pytest.fixture
def writes(book: Opened) -> WritePath:
    return book.book.writes  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
async def other(place: Place) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else in the database."""
    connection = await asyncpg.connect(place.admin_url)
    yield connection
    await connection.close()


def committing_with(
    kind: type[Transaction], writes: WritePath, monkeypatch: pytest.MonkeyPatch
) -> WritePath:
    assert isinstance(writes.database, Database)
    database = writes.database
    monkeypatch.setattr(database, "transaction", lambda: kind(engine=database))
    return writes


async def until_somebody_waits(other: asyncpg.Connection) -> None:
    for _ in range(1_000):
        if await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")


async def is_free(place: Place, sql: str, *values: object) -> bool:
    connection = await asyncpg.connect(place.admin_url)
    try:
        await connection.execute("SET lock_timeout = '200ms'")
        async with connection.transaction():
            await connection.execute(sql, *values)
        return True
    except asyncpg.LockNotAvailableError:
        return False
    finally:
        await connection.close()


LOCKED = "SELECT 1 FROM account WHERE number = $1 FOR UPDATE"


async def test_accounts_are_locked_in_the_order_of_their_numbers(place, writes, other):
    async with other.transaction():
        await other.execute(LOCKED, ADA)
        posting = asyncio.create_task(writes.post([order(ZOE, ADA, 1)]))
        await until_somebody_waits(other)

        assert await is_free(place, LOCKED, ZOE), "who waits for the first must not hold the second"
    assert [outcome.status for outcome in await posting] == [201]


async def test_keys_are_claimed_in_their_order(place, writes, other):
    async with other.transaction():
        await other.execute(HALF_CLAIMED, "key-2")
        late, early = order(ZOE, ADA, 1, key="key-2"), order(ZOE, ADA, 1, key="key-1")
        posting = asyncio.create_task(writes.post([late, early]))
        await until_somebody_waits(other)

        assert not await is_free(place, HALF_CLAIMED, "key-1")
        await other.execute("DELETE FROM request WHERE key = 'key-2'")
    assert [outcome.status for outcome in await posting] == [201, 201]


async def test_an_answer_that_is_kept_waits_for_no_account(writes, other):
    known = order(ZOE, ADA, 1)
    first = await writes.post([known])
    async with other.transaction():
        await other.execute(LOCKED, ZOE)

        assert await asyncio.wait_for(writes.post([known]), timeout=5) == first


async def test_whoever_always_loses_the_race_for_a_key_is_told_after_three_tries(writes, other):
    await other.execute(HALF_CLAIMED, "taken")
    tries = []

    def counted() -> Any:
        tries.append(1)
        return now()

    with pytest.raises(BatchAborted):
        await replace(writes, now=counted).post([order(ZOE, ADA, 1, key="taken")])
    assert len(tries) == TRIES_MAX == 3


async def test_lost_before_it_commits_nothing_has_happened(book, writes):
    wanted = order(ZOE, ADA, 1)

    def lost() -> Any:
        raise ConnectionResetError

    with pytest.raises(Unavailable):
        await replace(writes, now=lost).post([wanted])
    assert await writes.answers([wanted]) == [None]
    assert await book.balance(ADA) == 0


@pytest.mark.parametrize(("lost", "ada"), [(LostBefore, 0), (LostAfter, 1)])
async def test_lost_while_it_commits_nobody_knows_and_the_key_tells(
    book, writes, monkeypatch, lost, ada
):
    wanted = order(ZOE, ADA, 1)
    with pytest.raises(OutcomeUnknown):
        await committing_with(lost, writes, monkeypatch).post([wanted])
    monkeypatch.undo()

    (kept,) = await writes.answers([wanted])
    assert await book.balance(ADA) == ada
    assert (kept is not None) == bool(ada)
    assert isinstance((await writes.post([wanted]))[0], Answer)
    assert await book.balance(ADA) == 1


async def test_what_the_database_refuses_undoes_the_batch(book, writes):
    poisoned = order(ZOE, ADA, 1, narrative="\x00")

    with pytest.raises(BatchAborted):
        await writes.post([order(ZOE, ADA, 1), poisoned])
    assert await book.balance(ADA) == 0


async def test_without_its_database_nothing_is_said_of_a_key(writes, monkeypatch):
    def unreachable() -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(writes.database, "acquired", unreachable)

    with pytest.raises(Unavailable):
        await writes.answers([order(ZOE, ADA, 1)])


async def test_a_batch_has_orders(writes):
    with pytest.raises(AssertionError):
        await writes.post([])


@pytest.mark.parametrize("days", [365, -1])
async def test_a_clock_that_is_not_the_databases_books_nothing(book, monkeypatch, days):
    """One transfer of a year ahead would count to a limit until then, and be dated so."""
    real = SOURCES.time_ns
    monkeypatch.setattr(SOURCES, "time_ns", lambda: real() + days * 86_400 * 10**9)
    with pytest.raises(Unavailable, match="the clock here is"):
        await book.post(order(ZOE, ADA, 10))
    monkeypatch.setattr(SOURCES, "time_ns", real)

    assert await book.balance(ZOE) == 100
    (done,) = await book.post(order(ZOE, ADA, 10))
    assert isinstance(done, Answer) and done.status == 201


async def test_a_clock_that_is_a_little_off_does(book, monkeypatch):
    real = SOURCES.time_ns
    monkeypatch.setattr(SOURCES, "time_ns", lambda: real() + 30 * 10**9)

    (done,) = await book.post(order(ZOE, ADA, 10))

    assert isinstance(done, Answer) and done.status == 201
