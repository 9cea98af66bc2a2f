"""What the simulated database promises, PostgreSQL does: one suite on both."""

import asyncio
from contextlib import nullcontext

import asyncpg
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency
from cbs.kernel.refusal import KeyReused, Refusal
from cbs.ledger.domain.account import AccountKind, Terms
from cbs.ledger.main import posted
from cbs.ledger.store.batches import POSTINGS, PostgresBatches
from cbs.ledger.store.book import PostgresBook
from cbs.ledger.store.write_path import WritePath
from cbs.ledger.tables import AccountRow, PostingRow, TransactionRow
from cbs.platform.context import new_id, now
from cbs.platform.database import Database
from cbs.platform.idempotency import Key, PostgresKeys
from cbs.platform.outbox import HEAD, LOCK, UNLOCK, PostgresOutbox
from cbs.platform.problem import answer_of
from cbs.platform.service import PermissionRefused
from cbs.simulation.database import Server, SimulatedDatabase
from cbs.simulation.schemas import PLUMBING, SCHEMAS, begin
from cbs.simulation.tables import Tables
from tests.ledger.orders import order

FACT = PermissionRefused(principal="p", permission="q", operation="r")


class No(Refusal):
    """No."""

    code = "no"


@pytest.fixture(params=["simulated", "postgres"])
async def db(request):
    if request.param == "simulated":
        tables = Tables(PLUMBING | SCHEMAS["ledger"], now)
        begin("ledger", tables)
        found: Database = SimulatedDatabase(Server(tables, lambda: 0.0), lambda: True)
    else:
        found = Database(request.getfixturevalue("database")("ledger").runtime_url)
    await found.open()
    found.bind(AccountRow, TransactionRow, PostingRow)
    yield found
    await found.close()


@pytest.fixture
def outbox(db):
    return PostgresOutbox(service="ledger", database=db)


@pytest.fixture
def book(db, outbox):
    writes = WritePath(
        database=db,
        outbox=outbox,
        store=PostgresBatches(database=db),
        view=posted,
        refused=answer_of,
        now=now,
        new_id=new_id,
    )
    return PostgresBook(database=db, outbox=outbox, writes=writes)


async def opened(db, book, *numbers):
    async with db.transaction():
        for number in numbers:
            await book.set_account(
                number=number,
                kind=AccountKind.CUSTOMER,
                currency=Currency.INR,
                terms=Terms(floor_minor=-1_000),
            )


def asked(fingerprint=b"one"):
    return Key(principal="p", key="key-0001", fingerprint=fingerprint, at=now())


async def test_positions_have_no_gap_after_a_rollback(db, outbox):
    for lost in (False, True, False):
        with pytest.raises(No) if lost else nullcontext():
            async with db.transaction():
                await outbox.put(FACT, FACT)
                if lost:
                    raise No

    assert [position for position, _, _ in await outbox.after(0, limit=9)] == [1, 2, 3, 4]
    assert await outbox.head() == 4


async def test_a_key_gives_its_first_answer(db):
    requests = PostgresKeys(database=db, refused=answer_of)

    async def first():
        return Answer(status=201, body=b"1")

    async def second():
        return Answer(status=201, body=b"2")

    assert await requests.once(asked(), first) == Answer(status=201, body=b"1")
    assert await requests.once(asked(), second) == Answer(status=201, body=b"1")
    with pytest.raises(KeyReused):
        await requests.once(asked(b"other"), first)
    found = await requests.find(principal="p", key="key-0001")
    assert found is not None and found.status == 201


async def test_of_a_refusal_only_the_answer_stays(db, outbox):
    requests = PostgresKeys(database=db, refused=answer_of)

    async def effect():
        await outbox.put(FACT)
        raise No

    answer = await requests.once(asked(), effect)

    assert answer is not None and answer.status == 409
    assert await outbox.head() == 0


async def test_a_posted_batch_moves_the_balances(db, book, outbox):
    await opened(db, book, "11", "12")

    outcomes = await book.post([order("11", "12", 100), order("11", "12", 5_000)])

    assert [each.status for each in outcomes] == [201, 409]
    [one, other] = sorted(await book.accounts(["11", "12"]), key=lambda each: each.number)
    assert (one.balance_minor, other.balance_minor) == (-100, 100)
    assert (one.postings, other.postings) == (1, 1)
    assert await outbox.head() == 3


@pytest.mark.parametrize(
    ("amounts", "balances", "seqs"),
    [((-5, 4), (-5, 4), (1, 1)), ((-5, 5), (-5, 6), (1, 1)), ((-5, 5), (-5, 5), (1, 2))],
    ids=["not balanced", "another balance", "another number"],
)
async def test_postings_that_do_not_follow_are_refused(db, book, amounts, balances, seqs):
    await opened(db, book, "11", "12")
    day, id = now().date(), new_id()

    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute(
            POSTINGS,
            ["11", "12"],
            list(seqs),
            [id, id],
            [0, 1],
            list(amounts),
            list(balances),
            ["INR", "INR"],
            [day, day],
            [day, day],
            [False, False],
        )

    assert {each.balance_minor for each in await book.accounts(["11", "12"])} == {0}


async def test_after_an_error_nothing_more_is_done_in_the_transaction(db):
    twice = "INSERT INTO watermark (source, position) VALUES ($1, 0)"

    async def going_on():
        async with db.transaction():
            await db.execute(twice, "ledger")
            with pytest.raises(asyncpg.UniqueViolationError):
                await db.execute(twice, "ledger")
            await db.execute(HEAD, 1)

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await going_on()

    assert not await db.fetch("SELECT position FROM watermark WHERE source = $1", "ledger")


async def test_nobody_sees_what_is_undone(db):
    reading, written = "SELECT source FROM watermark WHERE source = $1", asyncio.Event()

    async def read():
        await written.wait()
        return await db.fetch(reading, "ledger")

    async def think_better_of_it():
        async with db.transaction():
            await db.execute("INSERT INTO watermark (source, position) VALUES ($1, 0)", "ledger")
            assert await db.fetch(reading, "ledger")
            written.set()
            await asyncio.sleep(0.1)
            raise No

    looking = asyncio.create_task(read())
    with pytest.raises(No):
        await think_better_of_it()

    assert not await looking


async def test_what_is_open_on_a_connection_that_is_lost_is_undone_and_holds_nobody_up(db):
    write = "INSERT INTO watermark (source, position) VALUES ($1, $2)"
    lost = await db.pool.acquire()
    await lost.transaction().start()
    await lost.execute(write, "ledger", 1)
    lost.terminate()
    with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresConnectionError)):
        await lost.execute(write, "audit", 1)

    await asyncio.wait_for(db.execute(write, "ledger", 2), 10)

    (row,) = await db.fetch("SELECT position FROM watermark WHERE source = $1", "ledger")
    assert row["position"] == 2
    await db.pool.release(lost)


async def test_one_connection_has_the_relay_until_it_lets_go(db):
    async with db.pool.acquire() as one, db.pool.acquire() as other:
        assert await one.fetchval(LOCK)
        assert not await other.fetchval(LOCK)
        assert not await other.fetchval("SELECT position FROM relay")
        await one.execute(UNLOCK)
        assert await other.fetchval(LOCK)
        await other.execute(UNLOCK)
