"""What may be decided, whatever is asked in whatever order."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from cbs.kernel.calendar import business_date
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Malformed, Refusal
from cbs.ledger.domain.account import Account, AccountKind, LimitPerDay, Terms
from cbs.ledger.domain.transaction import (
    CASH_DEPOSIT,
    CASH_WITHDRAWAL,
    TRANSFER,
    AccountsNotDistinct,
    EmptyLeg,
    NotBalanced,
    decide,
)
from cbs.platform.context import new_id
from tests.ledger.orders import order, order_of

AT = datetime(2026, 4, 1, 12, tzinfo=UTC)
BANK, NAMES = "bank", ["a", "b", "c", "d"]
HELD_MINOR, PAID_MINOR_MAX, UNLIMITED_MINOR = 500, 500, 10**9
POSTED_SHARE_MIN = 2 / 3


def some(low: int, high: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(low, high)


TERMS = st.builds(
    Terms,
    floor_minor=some(-300, HELD_MINOR - 50),
    ceiling_minor=some(HELD_MINOR + 100, 3_000),
    limit_per_transaction_minor=some(50, 300),
    limit_per_day_minor=some(100, 1_000),
)
# One account at most is blocked, and seldom: most is to be posted.
BLOCKED = st.sampled_from(["nothing"] * 8 + ["debit_blocked", "credit_blocked"])


@dataclass(frozen=True)
class Payment:
    """Of so many per cent of what the terms leave room for: above 100 is too much."""

    payer: str
    payees: list[str]
    percent: int
    kind: str
    day: int


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    everybody = st.lists(st.sampled_from([BANK, *NAMES]), min_size=2, max_size=3, unique=True)
    payer, *payees = draw(everybody)
    return Payment(
        payer=payer,
        payees=payees,
        percent=draw(st.integers(1, 99) | st.integers(1, 99) | st.sampled_from([100, 101, 110])),
        kind=draw(st.sampled_from([TRANSFER, CASH_WITHDRAWAL, CASH_DEPOSIT, "fee"])),
        day=draw(st.integers(0, 3)),
    )


def room_to_pay(account: Account, kind: str, on: date) -> int:
    """How much the account's terms let it pay; the rules once more, in other words."""
    terms, rooms = account.terms, [UNLIMITED_MINOR]
    if terms.debit_blocked:
        return 0
    if terms.floor_minor is not None:
        rooms.append(account.balance_minor - terms.floor_minor)
    if account.kind is AccountKind.CUSTOMER and kind in (TRANSFER, CASH_WITHDRAWAL):
        if terms.limit_per_transaction_minor is not None:
            rooms.append(terms.limit_per_transaction_minor)
        if terms.limit_per_day_minor is not None:
            rooms.append(terms.limit_per_day_minor - account.debited_minor_on(on))
    return min(rooms)


def room_to_take(account: Account) -> int:
    terms = account.terms
    if terms.credit_blocked:
        return 0
    if terms.ceiling_minor is None:
        return UNLIMITED_MINOR
    return terms.ceiling_minor - account.balance_minor


def amounts(payment: Payment, book: dict[str, Account], on: date) -> list[int]:
    """What each payee gets: an equal part, or what it has room for."""
    room = min(room_to_pay(book[payment.payer], payment.kind, on), PAID_MINOR_MAX)
    part = room // len(payment.payees)
    rooms = [min(part, room_to_take(book[payee])) for payee in payment.payees]
    return [max(1, room * payment.percent // 100) for room in rooms]


def fits(payment: Payment, minors: list[int], book: dict[str, Account], on: date) -> bool:
    return sum(minors) <= room_to_pay(book[payment.payer], payment.kind, on) and all(
        minor <= room_to_take(book[payee])
        for payee, minor in zip(payment.payees, minors, strict=True)
    )


def account(number: str, terms: Terms, balance: int = 0) -> Account:
    return Account(
        number=number,
        kind=AccountKind.INTERNAL if number == BANK else AccountKind.CUSTOMER,
        currency=Currency.INR,
        terms=terms,
        balance_minor=balance,
    )


def run(asked: list[Payment], terms: Mapping[str, Terms], told: Counter[str]) -> None:
    """What fits is posted, and all else is refused; the terms hold, and money is kept."""
    book = {name: account(name, terms[name], HELD_MINOR) for name in NAMES}
    book[BANK] = account(BANK, Terms(floor_minor=None), -len(NAMES) * HELD_MINOR)
    for payment in asked:
        at = AT + timedelta(days=payment.day)
        minors = amounts(payment, book, business_date(at))
        legs = [(payment.payer, -sum(minors)), *zip(payment.payees, minors, strict=True)]
        posting = order_of(legs, kind=payment.kind)
        if not fits(payment, minors, book, business_date(at)):
            with pytest.raises(Refusal) as refused:
                decide(posting, book, id=new_id(), at=at)
            told[refused.value.code] += 1
            continue
        transaction, after = decide(posting, book, id=new_id(), at=at)
        told["posted"] += 1
        for leg in transaction.legs:
            before = book[leg.account]
            assert leg.seq == before.postings + 1 == after[leg.account].postings
            assert leg.balance_after_minor == before.balance_minor + leg.amount_minor
        book |= after
    assert sum(each.balance_minor for each in book.values()) == 0
    for each in book.values():
        floor, ceiling = each.terms.floor_minor, each.terms.ceiling_minor
        assert floor is None or each.balance_minor >= floor
        assert ceiling is None or each.balance_minor <= ceiling
        limit = each.terms.limit_per_day_minor
        assert limit is None or each.debited_minor <= limit


def test_no_run_of_decisions_makes_money_or_breaks_terms(record_testsuite_property):
    told: Counter[str] = Counter()

    @settings(max_examples=200, phases=set(Phase) - {Phase.explain})
    @given(
        st.lists(payments(), min_size=1, max_size=12),
        st.fixed_dictionaries({name: TERMS for name in NAMES}),
        BLOCKED,
    )
    def property_holds(asked, terms, blocked) -> None:
        if blocked != "nothing":
            terms |= {"a": replace(terms["a"], **{blocked: True})}
        outcomes: Counter[str] = Counter()
        run(asked, terms, outcomes)
        for outcome in outcomes:
            event(outcome)
        told.update(outcomes)

    property_holds()
    record_testsuite_property("decided", dict(told))
    assert told["posted"] >= POSTED_SHARE_MIN * told.total(), told


@pytest.mark.parametrize(
    "amounts", [[5], [], [5, -4], [5, -5, 0], [1, -1] * 11], ids=lambda a: str(len(a))
)
def test_an_order_is_well_formed_or_none(amounts):
    with pytest.raises((Malformed, NotBalanced, EmptyLeg)):
        order_of([(f"n{i}", amount) for i, amount in enumerate(amounts)], kind="fee")


def test_an_account_appears_once_in_a_transaction():
    with pytest.raises(AccountsNotDistinct):
        order("alice", "alice", 5)


def test_a_clock_that_goes_back_gives_no_second_limit():
    book = {
        "a": account("a", Terms(floor_minor=None, limit_per_day_minor=50)),
        "b": account("b", Terms()),
    }
    _, after = decide(order("a", "b", 50), book, id=new_id(), at=AT)

    with pytest.raises(LimitPerDay):
        decide(order("a", "b", 1), book | after, id=new_id(), at=AT.replace(month=3))
    decide(order("a", "b", 50), book | after, id=new_id(), at=AT.replace(day=2))
