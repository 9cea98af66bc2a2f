from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.kernel.money import Currency
from cbs.kernel.refusal import Malformed, Refusal
from cbs.ledger.domain.account import Account, AccountKind, LimitPerDay, Terms
from cbs.ledger.domain.transaction import (
    AccountsNotDistinct,
    EmptyLeg,
    NotBalanced,
    decide,
)
from cbs.platform.context import new_id
from tests.ledger.orders import order, order_of

AT = datetime(2026, 4, 1, 12, tzinfo=UTC)
NAMES = ["a", "b", "c", "d"]
MINOR = st.integers(-200, 200)
TERMS = st.builds(
    Terms,
    floor_minor=st.none() | st.integers(-100, 0),
    ceiling_minor=st.none() | st.integers(0, 300),
    limit_per_transaction_minor=st.none() | st.integers(0, 200),
    limit_per_day_minor=st.none() | st.integers(0, 200),
    debit_blocked=st.booleans(),
    credit_blocked=st.booleans(),
)


@st.composite
def balanced(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Legs that sum to zero on distinct accounts."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    amounts = [draw(MINOR.filter(bool)) for _ in names[1:]]
    rest = -sum(amounts)
    if rest == 0:
        amounts[-1] += 1
        rest = -1
        if amounts[-1] == 0:
            amounts[-1], rest = 1, -sum(amounts[:-1]) - 1
    return list(zip(names, [rest, *amounts], strict=True))


def account(number: str, terms: Terms, balance: int = 0) -> Account:
    return Account(
        number=number,
        kind=AccountKind.CUSTOMER,
        currency=Currency.INR,
        terms=terms,
        balance_minor=balance,
    )


@given(
    st.lists(st.tuples(balanced(), st.sampled_from(["transfer", "fee"])), max_size=12),
    st.fixed_dictionaries({name: TERMS for name in NAMES}),
)
def test_no_run_of_decisions_makes_money_or_breaks_terms(asked, terms):
    book = {name: account(name, terms[name]) for name in NAMES}
    for legs, kind in asked:
        if any(minor == 0 for _, minor in legs):
            continue
        try:
            transaction, after = decide(order_of(legs, kind=kind), book, id=new_id(), at=AT)
        except Refusal:
            continue
        book |= after
        assert sum(leg.amount_minor for leg in transaction.legs) == 0
        assert [leg.seq for leg in transaction.legs] == [
            after[leg.account].postings for leg in transaction.legs
        ]
    assert sum(each.balance_minor for each in book.values()) == 0
    for each in book.values():
        floor, ceiling = each.terms.floor_minor, each.terms.ceiling_minor
        assert floor is None or each.balance_minor >= floor
        assert ceiling is None or each.balance_minor <= ceiling
        limit = each.terms.limit_per_day_minor
        assert limit is None or each.debited_minor <= limit


@pytest.mark.parametrize(
    "amounts", [[5], [], [5, -4], [5, -5, 0], [1, -1] * 11], ids=lambda a: str(len(a))
)
def test_an_order_is_well_formed_or_none(amounts):
    with pytest.raises((Malformed, NotBalanced, EmptyLeg)):
        order_of([(f"n{i}", a) for i, a in enumerate(amounts)], kind="fee")


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
