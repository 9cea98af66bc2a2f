"""What every outbox promises, in memory and in PostgreSQL."""

import asyncio
from contextlib import nullcontext

import pytest

from cbs.platform.outbox import FACTS_PAGE_MAX, fact_of
from cbs.platform.service import PermissionRefused
from tests.stores import lose_connection_of

FACT = PermissionRefused(principal="p", permission="q", operation="r")


async def put(runtime, count=1):
    async with runtime.database.transaction():
        await runtime.outbox.put(*[FACT] * count)


async def positions(outbox, after=0, limit=FACTS_PAGE_MAX):
    return [position for position, _, _ in await outbox.after(after, limit=limit)]


async def test_what_is_put_is_found_as_it_is_published(runtime):
    await put(runtime)

    [(position, subject, body)] = await runtime.outbox.after(0, limit=9)
    fact = fact_of(body)
    assert (position, subject) == (1, "cbs.ledger.events.permission-refused")
    assert (fact.source, fact.position, fact.name) == ("ledger", 1, "permission-refused")


async def test_positions_have_no_gap_after_a_rollback(runtime):
    for lost in (False, True, False):
        with pytest.raises(ZeroDivisionError) if lost else nullcontext():
            async with runtime.database.transaction():
                await runtime.outbox.put(FACT, FACT)
                if lost:
                    raise ZeroDivisionError

    assert await positions(runtime.outbox) == [1, 2, 3, 4]
    assert await runtime.outbox.head() == 4


async def test_positions_follow_the_order_of_commits(runtime):
    first_has_one, go = asyncio.Event(), asyncio.Event()

    async def slow():
        async with runtime.database.transaction():
            await runtime.outbox.put(FACT)
            first_has_one.set()
            await go.wait()

    one = asyncio.create_task(slow())
    await first_has_one.wait()
    other = asyncio.create_task(put(runtime))
    await asyncio.sleep(0.1)
    overtaken = other.done()
    go.set()
    await asyncio.gather(one, other)

    assert not overtaken
    assert await positions(runtime.outbox) == [1, 2]


async def test_facts_are_read_on_from_a_position_in_pages(runtime):
    await put(runtime, FACTS_PAGE_MAX + 3)

    assert await positions(runtime.outbox, 2, 3) == [3, 4, 5]
    assert len(await positions(runtime.outbox, 0, 9_999)) == FACTS_PAGE_MAX
    assert await positions(runtime.outbox, FACTS_PAGE_MAX + 2) == [FACTS_PAGE_MAX + 3]
    assert await positions(runtime.outbox, FACTS_PAGE_MAX + 3) == []


async def test_a_relay_goes_on_where_it_was(runtime):
    await put(runtime, 5)
    async with runtime.outbox.turn() as turn:
        assert [each[0] for each in await turn.unpublished(limit=2)] == [1, 2]
        await turn.published(2)
        await turn.published(1)
        assert [each[0] for each in await turn.unpublished(limit=9)] == [3, 4, 5]
    assert await runtime.outbox.waiting() == 3

    async with runtime.outbox.turn() as turn:
        await turn.published(5)
        assert not await turn.unpublished(limit=9)
    assert await runtime.outbox.waiting() == 0


async def test_one_relay_has_the_turn_until_it_lets_go(runtime):
    async with runtime.outbox.turn() as one:
        assert one is not None
        async with runtime.outbox.turn() as other:
            assert other is None
    async with runtime.outbox.turn() as other:
        assert other is not None


async def test_a_turn_ends_with_its_connection(runtime):
    async with runtime.outbox.turn() as lost:
        lose_connection_of(lost)
        for _ in range(100):  # PostgreSQL notices in a moment
            async with runtime.outbox.turn() as other:
                if other is not None:
                    return
            await asyncio.sleep(0.05)
    raise AssertionError("nobody got the turn")


async def test_what_is_not_committed_is_not_published(runtime):
    put_it, go = asyncio.Event(), asyncio.Event()

    async def undone():
        async with runtime.database.transaction():
            await runtime.outbox.put(FACT)
            put_it.set()
            await go.wait()
            raise ZeroDivisionError

    undoing = asyncio.create_task(undone())
    await put_it.wait()
    async with runtime.outbox.turn() as turn:
        looking = asyncio.create_task(turn.unpublished(limit=9))
        await asyncio.sleep(0.1)
        go.set()
        assert not await looking
    with pytest.raises(ZeroDivisionError):
        await undoing
