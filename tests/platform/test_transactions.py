"""What a database promises of its transactions, in memory and in PostgreSQL."""

import asyncio

import pytest
from piccolo.engine.exceptions import TransactionError

from cbs.platform.database import UNREACHABLE
from tests.stores import commit_lost, lose_connection

PATIENCE_SECONDS = 10


async def moved(runtime, position, *, fail=None):
    async with runtime.database.transaction():
        await runtime.inbox.move("ledger", position)
        if fail is not None:
            raise fail


async def test_what_ends_with_an_error_never_was(runtime):
    await moved(runtime, 1)
    with pytest.raises(ZeroDivisionError):
        await moved(runtime, 2, fail=ZeroDivisionError())

    assert await runtime.inbox.heard("ledger") == 1


async def test_nobody_sees_what_is_not_committed(runtime):
    written, go = asyncio.Event(), asyncio.Event()

    async def slow():
        async with runtime.database.transaction():
            await runtime.inbox.move("ledger", 7)
            assert await runtime.inbox.heard("ledger") == 7
            written.set()
            await go.wait()
            raise ZeroDivisionError

    undone = asyncio.create_task(slow())
    await written.wait()
    seen = asyncio.create_task(runtime.inbox.heard("ledger"))
    await asyncio.sleep(0.1)
    go.set()
    with pytest.raises(ZeroDivisionError):
        await undone

    assert await seen == 0


async def test_a_savepoint_is_undone_alone(runtime):
    async def undone():
        async with runtime.database.savepoint():
            await runtime.inbox.move("ledger", 2)
            raise ZeroDivisionError

    async with runtime.database.transaction():
        await runtime.inbox.move("ledger", 1)
        with pytest.raises(ZeroDivisionError):
            await undone()
        assert await runtime.inbox.heard("ledger") == 1
        async with runtime.database.savepoint():
            await runtime.inbox.move("ledger", 3)

    assert await runtime.inbox.heard("ledger") == 3


async def test_transactions_do_not_nest(runtime):
    with pytest.raises((TransactionError, AssertionError)):
        async with runtime.database.transaction():
            await moved(runtime, 1)

    assert await runtime.inbox.heard("ledger") == 0


async def test_a_connection_that_is_lost_undoes_what_is_open_and_holds_nobody_up(runtime):
    async def cut_in_the_middle():
        async with runtime.database.transaction():
            await runtime.inbox.move("ledger", 1)
            lose_connection(runtime)
            await runtime.inbox.move("ledger", 2)

    with pytest.raises(UNREACHABLE):
        await cut_in_the_middle()
    assert await runtime.inbox.heard("ledger") == 0
    await asyncio.wait_for(moved(runtime, 3), PATIENCE_SECONDS)

    assert await runtime.inbox.heard("ledger") == 3


async def test_a_connection_that_is_lost_in_a_savepoint_undoes_all(runtime):
    async def cut_in_the_middle():
        async with runtime.database.transaction():
            await runtime.inbox.move("ledger", 1)
            async with runtime.database.savepoint():
                lose_connection(runtime)
                await runtime.inbox.move("ledger", 2)

    with pytest.raises(UNREACHABLE):
        await cut_in_the_middle()

    assert await runtime.inbox.heard("ledger") == 0


@pytest.mark.parametrize("done", [False, True])
async def test_a_commit_that_is_not_answered_took_effect_or_not(runtime, done):
    with commit_lost(runtime, done=done), pytest.raises(UNREACHABLE):
        await moved(runtime, 1)

    assert await runtime.inbox.heard("ledger") == done
    await moved(runtime, 5)
    assert await runtime.inbox.heard("ledger") == 5


async def test_many_at_once_lose_nothing(runtime):
    async def one_more():
        async with runtime.database.transaction():
            await runtime.inbox.move("ledger", await runtime.inbox.lock("ledger") + 1)

    await asyncio.gather(*(one_more() for _ in range(20)))

    assert await runtime.inbox.heard("ledger") == 20


async def test_a_closed_database_answers_nobody(runtime):
    await runtime.database.close()

    with pytest.raises((*UNREACHABLE, AssertionError)):
        await runtime.inbox.heard("ledger")
