"""One set of promises, two books: the fake is only trusted because it passes these too."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.calendar import business_date
from cbs.kernel.money import Currency
from cbs.kernel.refusal import KeyReused, NotPermitted
from cbs.ledger.application.book import Book
from cbs.ledger.domain.account import (
    AccountKind,
    AccountNotEmpty,
    FloorAboveBalance,
    NoSuchAccount,
    NumberTaken,
    Terms,
)
from cbs.ledger.domain.transaction import Order
from cbs.ledger.main import in_postgres
from cbs.ledger.memory import in_memory
from cbs.ledger.service import DECLARATION
from cbs.platform.context import new_id, now
from tests.ledger.orders import order
from tests.stores import BOTH, made_on, runtime_on, url_of

ALICE, BOB, CASH = "alice", "bob", "INR-CASH"


class Opened:
    """A book, and how its callers begin a transaction of their own."""

    def __init__(self, book: Book, transaction: Callable[[], Any]) -> None:
        self.book, self.transaction = book, transaction

    async def set(self, number: str, *, currency: Currency = Currency.INR, **changed: Any) -> Any:
        kind = AccountKind.INTERNAL if number == CASH else AccountKind.CUSTOMER
        terms = Terms(**{"floor_minor": None if number == CASH else 0, **changed})
        async with self.transaction():
            if await self.book.accounts([number]):
                return await self.book.change_terms(number=number, terms=terms)
            return await self.book.open_account(
                number=number, kind=kind, currency=currency, terms=terms
            )

    async def fund(self, number: str, minor: int) -> None:
        (answer,) = await self.book.post([order(CASH, number, minor, kind="cash-deposit")])
        assert isinstance(answer, Answer) and answer.status == 201, answer

    async def post(self, *orders: Order) -> list[Any]:
        return list(await self.book.post(orders))

    async def balance(self, number: str) -> int:
        return (await self.book.accounts([number]))[0].balance_minor


@asynccontextmanager
async def book_on(url: str | None) -> AsyncIterator[Opened]:
    async with runtime_on(DECLARATION, url) as runtime:
        yield Opened(made_on(runtime, in_memory, in_postgres), runtime.database.transaction)


@pytest.fixture(params=BOTH)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with book_on(url_of(request, "ledger")) as opened:
        yield opened


@pytest.fixture
async def book(opened: Opened) -> Opened:
    """Alice holds 100, Bob nothing."""
    await opened.set(ALICE)
    await opened.set(BOB)
    await opened.fund(ALICE, 100)
    return opened


def code(outcome: Any) -> str:
    assert outcome.status == 409 or outcome.status == 404, outcome
    return str(msgspec.json.decode(outcome.body)["type"]).removeprefix("urn:cbs:")


async def test_a_batch_is_decided_in_the_order_of_arrival(book: Opened):
    there, back, more = await book.post(
        order(ALICE, BOB, 60), order(BOB, ALICE, 60), order(ALICE, BOB, 101)
    )

    assert (there.status, back.status) == (201, 201)
    assert code(more) == "insufficient-funds"
    assert (await book.balance(ALICE), await book.balance(BOB)) == (100, 0)


async def test_a_refusal_in_a_batch_leaves_its_neighbours_alone(book: Opened):
    outcomes = await book.post(
        order(ALICE, BOB, 30), order("nobody", BOB, 1), order(ALICE, BOB, 30)
    )

    assert [outcome.status for outcome in outcomes] == [201, 404, 201]
    assert await book.balance(BOB) == 60


async def test_a_key_twice_in_a_batch_and_again_later_has_one_effect(book: Opened):
    one = order(ALICE, BOB, 30, key="same-key")
    first, second = await book.post(one, one)
    (third,) = await book.post(one)

    assert first == second == third
    assert await book.balance(BOB) == 30
    assert await book.book.answers([one, order(ALICE, BOB, 1)]) == [first, None]


async def test_a_key_with_another_request_is_refused_and_the_first_answer_stays(book: Opened):
    one, other = order(ALICE, BOB, 30, key="same-key"), order(ALICE, BOB, 31, key="same-key")
    first, reused = await book.post(one, other)

    assert isinstance(reused, KeyReused)
    assert await book.post(one) == [first]


async def test_a_key_belongs_to_its_principal(book: Opened):
    await book.post(order(ALICE, BOB, 10, key="same-key"))
    await book.post(order(ALICE, BOB, 10, key="same-key", principal="theo"))

    assert await book.balance(BOB) == 20


async def test_a_business_refusal_is_kept_under_its_key(book: Opened):
    too_much = order(ALICE, BOB, 101, key="too-much-1")
    (refused,) = await book.post(too_much)
    await book.fund(ALICE, 1_000)

    assert await book.post(too_much) == [refused]
    assert code(refused) == "insufficient-funds"


async def test_a_missing_permission_is_not_kept(book: Opened):
    earlier = business_date(now()) - timedelta(days=1)
    asked: dict[str, Any] = {"key": "backdated", "value_on": earlier, "kind": "import"}
    (refused,) = await book.post(order(ALICE, BOB, 1, **asked))
    (allowed,) = await book.post(order(ALICE, BOB, 1, **asked, may_backdate=True))

    assert isinstance(refused, NotPermitted)
    assert isinstance(allowed, Answer) and allowed.status == 201


async def test_a_value_date_is_never_in_the_future(book: Opened):
    tomorrow = business_date(now()) + timedelta(days=1)
    (refused,) = await book.post(order(ALICE, BOB, 1, value_on=tomorrow, may_backdate=True))

    assert code(refused) == "value-date-in-future"


async def test_history_is_told_backwards_and_balances_by_value_date(book: Opened):
    long_ago = date(2020, 1, 1)
    await book.post(order(ALICE, BOB, 40, value_on=long_ago, may_import=True))
    await book.post(order(ALICE, BOB, 5))

    lines = await book.book.history(ALICE, before=2**62, limit=10)
    assert [(line.seq, line.amount_minor, line.balance_after_minor) for line in lines] == [
        (3, -5, 55),
        (2, -40, 60),
        (1, 100, 100),
    ]
    assert await book.book.history(ALICE, before=2, limit=10) == lines[2:]
    assert await book.book.balance_on(BOB, date(2019, 12, 31)) == 0
    assert await book.book.balance_on(BOB, long_ago) == 40
    assert await book.book.balance_on(BOB, business_date(now())) == 45


async def test_a_transaction_can_be_read_back(book: Opened):
    (answer,) = await book.post(order(ALICE, BOB, 7))
    assert isinstance(answer, Answer)
    told = msgspec.json.decode(answer.body)["transaction"]

    found = await book.book.transaction(msgspec.convert(told["id"], type=type(new_id())))

    assert found is not None
    assert [(leg.account, leg.amount_minor) for leg in found.legs] == [(ALICE, -7), (BOB, 7)]
    assert await book.book.transaction(new_id()) is None


@pytest.mark.parametrize(
    ("terms", "payer", "refusal"),
    [
        ({"debit_blocked": True}, ALICE, "account-blocked"),
        ({"credit_blocked": True}, BOB, "account-blocked"),
        ({"limit_per_transaction_minor": 9}, ALICE, "limit-per-transaction"),
        ({"limit_per_day_minor": 9}, ALICE, "limit-per-day"),
        ({"ceiling_minor": 100}, BOB, "ceiling-passed"),
    ],
)
async def test_the_terms_hold_from_the_moment_they_are_set(book: Opened, terms, payer, refusal):
    if payer == BOB:
        await book.fund(BOB, 10)
    await book.set(ALICE, version=2, **terms)
    payee = BOB if payer == ALICE else ALICE

    (refused,) = await book.post(order(payer, payee, 10))

    assert code(refused) == refusal


async def test_the_day_limit_counts_what_was_paid_and_spares_the_bank_itself(book: Opened):
    await book.set(ALICE, version=2, limit_per_day_minor=50)
    outcomes = await book.post(
        order(ALICE, BOB, 30),
        order(ALICE, CASH, 20, kind="cash-withdrawal"),
        order(ALICE, BOB, 1),
        order(ALICE, CASH, 1, kind="cash-withdrawal"),
    )
    (fee,) = await book.post(order(ALICE, CASH, 40, kind="fee"))

    assert [outcome.status for outcome in outcomes] == [201, 201, 409, 409]
    assert fee.status == 201


async def test_older_terms_change_nothing(book: Opened):
    await book.set(ALICE, version=3, debit_blocked=True)

    account = await book.set(ALICE, version=2)

    assert account.terms.debit_blocked


async def test_an_account_is_closed_at_zero_and_then_takes_nothing(book: Opened):
    with pytest.raises(AccountNotEmpty):
        await book.set(ALICE, version=2, closed=True)
    await book.post(order(ALICE, BOB, 100))
    await book.set(ALICE, version=2, closed=True)

    (refused,) = await book.post(order(BOB, ALICE, 1))
    assert code(refused) == "account-closed"


async def test_a_floor_is_not_raised_above_the_balance(book: Opened):
    with pytest.raises(FloorAboveBalance):
        await book.set(ALICE, version=2, floor_minor=101)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": AccountKind.INTERNAL},
        {"currency": Currency.EUR},
        {"terms": Terms(limit_per_day_minor=5)},
        {"terms": Terms(version=2)},
    ],
)
async def test_what_is_open_is_not_opened_otherwise(book: Opened, other: dict[str, Any]):
    wanted = {"kind": AccountKind.CUSTOMER, "currency": Currency.INR, "terms": Terms(), **other}
    before = (await book.book.accounts([ALICE]))[0]

    with pytest.raises(NumberTaken):
        async with book.transaction():
            await book.book.open_account(number=ALICE, **wanted)

    assert (await book.book.accounts([ALICE]))[0] == before


async def test_what_is_opened_again_is_given_as_it_is(book: Opened):
    (known,) = await book.book.accounts([ALICE])

    async with book.transaction():
        again = await book.book.open_account(
            number=ALICE, kind=AccountKind.CUSTOMER, currency=Currency.INR, terms=Terms()
        )

    assert again == known


async def test_the_terms_of_no_account_are_changed(book: Opened):
    with pytest.raises(NoSuchAccount):
        async with book.transaction():
            await book.book.change_terms(number="nobody", terms=Terms(version=2))


async def test_currencies_do_not_mix(book: Opened):
    (refused,) = await book.post(order(ALICE, BOB, 1, currency=Currency.CZK))

    assert code(refused) == "currency-mismatch"
