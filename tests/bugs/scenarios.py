"""Short histories on real servers; each ends well, unless there is a bug."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from cbs.ledger.application.book import Ledger
from tests.bugs.moments import commit_lost, database_of, holding, status, told
from tests.conftest import Database as Place
from tests.ledger.orders import order
from tests.ledger.test_book import ALICE, BOB, Opened
from tests.ledger.test_races import OPENING_MINOR, names
from tests.payments.bank import Bank
from tests.platform.test_saga import in_postgres, trip

LockNotAvailable = asyncpg.LockNotAvailableError
NotRaised = pytest.fail.Exception


async def a_repeated_request(book: Opened) -> None:
    asked = order(ALICE, BOB, 30, key="same-key")
    (first,) = await book.post(asked)
    (again,) = await book.post(asked)

    assert first == again
    assert await book.balance(BOB) == 30


async def one_key_in_two_instances(instances: Sequence[Opened]) -> None:
    """Both have looked the key up, and found nothing, before either has the accounts."""
    payer, payee = names()[:2]
    same = order(payer, payee, 1, key="same-key")
    async with holding(database_of(instances[0]), payer) as other:
        asked = [asyncio.create_task(Ledger(book=each.book).post(same)) for each in instances]
        await other.until_waiting(2)
    first, second = await asyncio.gather(*asked)

    assert first == second
    assert await instances[0].balance(payee) == OPENING_MINOR + 1


async def two_withdrawals_at_once(instances: Sequence[Opened]) -> None:
    """Either alone is covered, both are not."""
    payer, payee = names()[:2]
    async with holding(database_of(instances[0]), payer) as other:
        asked = [asyncio.create_task(status(each, order(payer, payee, 80))) for each in instances]
        await other.until_waiting(2)
    statuses = await asyncio.gather(*asked)

    assert sorted(statuses) == [201, 409]
    assert await instances[0].balance(payer) == OPENING_MINOR - 80


async def two_who_pay_each_other(instances: Sequence[Opened]) -> None:
    """Another instance has one account and wants the next: whoever waits must not have that."""
    low, high = names()[:2]
    async with holding(database_of(instances[0]), low) as other:
        asked = asyncio.create_task(status(instances[0], order(high, low, 1)))
        try:
            await other.until_waiting(1)
            await other.lock(high, nowait=True)
        finally:
            await other.connection.execute("ROLLBACK; BEGIN")
            outcome = await asked

    assert outcome == 201


async def the_server_is_lost(book: Opened, *, done: bool) -> None:
    """Whatever is said of a COMMIT without an answer: money, answers and facts are of one mind."""
    asked = order(ALICE, BOB, 30, key="same-key")
    facts = await told(book)
    with commit_lost(done=done):
        outcome = await status(book, asked)

    assert outcome == (201 if done else 503)
    assert await book.balance(BOB) == (30 if done else 0)
    assert await told(book) == facts + done
    assert await status(book, asked) == 201
    assert await book.balance(BOB) == 30
    assert await told(book) == facts + 1


async def the_server_is_lost_before_it_commits(book: Opened) -> None:
    await the_server_is_lost(book, done=False)


async def the_server_is_lost_after_it_commits(book: Opened) -> None:
    await the_server_is_lost(book, done=True)


async def a_bad_order_among_good_ones(book: Opened) -> None:
    """PostgreSQL takes no U+0000, which only it will notice."""
    ledger = Ledger(book=book.book)
    bad = order(ALICE, BOB, 1, narrative="\x00")
    first = asyncio.create_task(ledger.post(order(ALICE, BOB, 1)))
    await asyncio.sleep(0)
    orders = [order(ALICE, BOB, 1), bad, order(ALICE, BOB, 1)]
    outcomes = await asyncio.gather(*map(ledger.post, orders), return_exceptions=True)
    await first

    assert [getattr(outcome, "status", 503) for outcome in outcomes] == [201, 503, 201]
    assert await book.balance(BOB) == 3


async def a_payment_beyond_the_balance(book: Opened) -> None:
    assert await status(book, order(ALICE, BOB, 101)) == 409
    assert await book.balance(ALICE) == 100


async def a_payment_asked_for_again(bank: Bank) -> None:
    asha, ravi = await bank.account(1_000), await bank.account()
    answers = [await bank.pay(asha, ravi, 400, key="until-it-works") for _ in range(2)]

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await bank.balances(asha, ravi) == [600, 400]


async def a_reply_that_is_lost(bank: Bank) -> None:
    asha, ravi = await bank.account(1_000), await bank.account()
    client = bank.service.runtime.bus._client
    request, lost = client.request, list[bytes]()

    async def losing(subject: str, *rest: Any, **named: Any) -> Any:
        reply = await request(subject, *rest, **named)
        if subject == "cbs.ledger.post" and not lost:
            lost.append(reply.data)
            raise TimeoutError
        return reply

    client.request = losing  # type: ignore[method-assign]
    answer = await bank.pay(asha, ravi, 400)

    assert lost
    assert answer.status_code == 201
    assert await bank.balances(asha, ravi) == [600, 400]


async def one_step_taken_by_many(database: Callable[[str], Place]) -> None:
    """Of eight that take each step of a saga, one does: the no, and what makes up for it."""
    async with in_postgres(database("accounts").runtime_url) as stored:
        saga = await stored.begin(trip())
        for step in ("cancel-flight", "done"):
            moved = replace(saga, step=step)
            outcomes = await asyncio.gather(*(stored.move(saga, moved) for _ in range(8)))
            assert sum(outcomes) == 1
            saga = moved
