"""Whatever the interleaving, on real PostgreSQL: money is kept, floors hold, keys act once."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Ledger
from tests.conftest import Database as Place
from tests.ledger.orders import order
from tests.ledger.test_book import CASH, Opened, book_on

ACCOUNTS, OPENING_MINOR, INSTANCES = 6, 100, 2


@pytest.fixture
async def instances(database: Callable[[str], Place]) -> AsyncIterator[list[Opened]]:
    """Two instances of the ledger on one database, with some funded accounts."""
    place = database("ledger")
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(book_on(place.runtime_url)) for _ in range(INSTANCES)
        ]
        for number in names():
            await opened[0].set(number)
            await opened[0].fund(number, OPENING_MINOR)
        yield opened


def names() -> list[str]:
    return [f"acc-{n}" for n in range(ACCOUNTS)]


async def settled(outcome: Coroutine[Any, Any, Answer]) -> Any:
    try:
        return await outcome
    except Refusal as refusal:
        return refusal


async def test_money_is_kept_and_no_floor_is_passed_whoever_races(instances):
    dice = random.Random(7)
    ledgers = [Ledger(book=each.book) for each in instances]
    pairs = [dice.sample(names(), 2) for _ in range(400)]
    orders = [order(payer, payee, dice.randint(1, 80)) for payer, payee in pairs]
    asked = [(dice.choice(ledgers), each) for each in orders for _ in range(dice.choice([1, 1, 2]))]

    outcomes = await asyncio.gather(*(settled(ledger.post(each)) for ledger, each in asked))

    balances = [await instances[0].balance(number) for number in names()]
    assert sum(balances) == ACCOUNTS * OPENING_MINOR
    assert min(balances) >= 0
    assert {outcome.status for outcome in outcomes} == {201, 409}
    by_key: dict[str, set[bytes]] = {}
    for (_, each), outcome in zip(asked, outcomes, strict=True):
        by_key.setdefault(each.key, set()).add(outcome.body)
    assert all(len(bodies) == 1 for bodies in by_key.values())


async def test_two_accounts_that_pay_each_other_do_not_deadlock(instances):
    one, other = names()[:2]
    ledgers = [Ledger(book=each.book) for each in instances]
    there = [ledgers[n % 2].post(order(one, other, 1)) for n in range(100)]
    back = [ledgers[(n + 1) % 2].post(order(other, one, 1)) for n in range(100)]

    outcomes = await asyncio.wait_for(asyncio.gather(*there, *back), timeout=20)

    assert {outcome.status for outcome in outcomes} == {201}
    assert await instances[0].balance(one) == OPENING_MINOR


async def test_one_key_in_two_instances_at_once_has_one_effect(instances):
    payer, payee = names()[:2]
    for attempt in range(20):
        same = order(payer, payee, 1, key=f"same-key-{attempt}")
        (first,), (second,) = await asyncio.gather(*(each.book.post([same]) for each in instances))
        assert first == second

    assert await instances[0].balance(names()[1]) == OPENING_MINOR + 20


async def test_the_day_limit_holds_under_concurrency(instances):
    payer, payee = names()[:2]
    await instances[0].set(payer, version=2, limit_per_day_minor=50)
    ledgers = [Ledger(book=each.book) for each in instances]

    outcomes = await asyncio.gather(
        *(ledgers[n % 2].post(order(payer, payee, 10)) for n in range(10))
    )

    assert [outcome.status for outcome in outcomes].count(201) == 5
    assert await instances[0].balance(payer) == OPENING_MINOR - 50


async def test_a_block_that_is_answered_holds(instances):
    payer, payee = names()[:2]
    ledger = Ledger(book=instances[0].book)
    before = [asyncio.create_task(ledger.post(order(payer, payee, 1))) for _ in range(20)]
    await instances[1].set(payer, version=2, debit_blocked=True)
    after = await asyncio.gather(*(ledger.post(order(payer, payee, 1)) for _ in range(20)))
    await asyncio.gather(*before)

    assert {answer.status for answer in after} == {409}


async def test_positions_follow_commits_without_a_gap(instances):
    ledgers = [Ledger(book=each.book) for each in instances]
    seen: list[int] = []

    async def watch() -> None:
        outbox = instances[0].book.outbox
        while len(seen) < 2 * ACCOUNTS + 200:
            page = await outbox.after(seen[-1] if seen else 0, limit=256)
            seen.extend(position for position, _, _ in page)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(
        *(ledgers[n % 2].post(order(CASH, names()[n % 6], 1, kind="gift")) for n in range(200))
    )
    await asyncio.wait_for(watching, timeout=10)

    # Whoever read on from the last position seen missed nothing that committed later.
    assert seen == list(range(1, len(seen) + 1))
