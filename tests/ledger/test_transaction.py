"""What an order must be, and what is written down of one that is posted."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cbs.kernel.calendar import EARLIEST_BUSINESS_DATE
from cbs.kernel.event import Origin
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Malformed, NotPermitted
from cbs.ledger.domain import transaction as domain
from cbs.ledger.domain.account import Account, AccountKind, Terms
from cbs.ledger.domain.transaction import (
    LIMITED,
    AccountsNotDistinct,
    NotBalanced,
    Order,
    PostedLeg,
    Transaction,
    TransactionPosted,
    ValueDateInFuture,
    ValueDateTooEarly,
    decide,
)
from tests import published
from tests.ledger.orders import order_of

ID = UUID("01900000-0000-7000-8000-000000000001")
# In Mumbai it is the next day already.
AT, TODAY = datetime(2026, 3, 31, 20, tzinfo=UTC), date(2026, 4, 1)
YESTERDAY, TOMORROW = date(2026, 3, 31), date(2026, 4, 2)


LEGS = (("alice", -30), ("bob", 20), ("carol", 10))


def order(*legs: tuple[str, int], **changed: Any) -> Order:
    plain = order_of(legs or LEGS, **{"currency": Currency.CZK, "narrative": "rent", **changed})
    return replace(plain, origin=Origin(actor="upi", on_behalf_of="tara"))


def account(number: str, **changed) -> Account:
    return Account(
        **{
            "number": number,
            "kind": AccountKind.CUSTOMER,
            "currency": Currency.CZK,
            "terms": Terms(),
            **changed,
        }
    )


BOOK = {
    "alice": account("alice", balance_minor=100, postings=4),
    "bob": account("bob", balance_minor=10, postings=2),
    "carol": account("carol"),
}


def posted(wanted: Order) -> Transaction:
    return decide(wanted, BOOK, id=ID, at=AT)[0]


def test_a_transaction_is_written_down_with_what_it_left():
    transaction, after = decide(order(), BOOK, id=ID, at=AT)

    assert transaction == Transaction(
        id=ID,
        kind="transfer",
        currency=Currency.CZK,
        booked_on=TODAY,
        value_on=TODAY,
        booked_at=AT,
        narrative="rent",
        actor="tara",
        legs=[
            PostedLeg(account="alice", amount_minor=-30, balance_after_minor=70, seq=5),
            PostedLeg(account="bob", amount_minor=20, balance_after_minor=30, seq=3),
            PostedLeg(account="carol", amount_minor=10, balance_after_minor=10, seq=1),
        ],
    )
    assert after == {
        "alice": BOOK["alice"].posted(-30, limited=True, on=TODAY),
        "bob": BOOK["bob"].posted(20, limited=True, on=TODAY),
        "carol": BOOK["carol"].posted(10, limited=True, on=TODAY),
    }


def test_what_is_told_of_a_transaction_is_what_was_posted():
    transaction = replace(posted(order()), value_on=YESTERDAY)

    assert transaction.to_event(key="key-0001") == TransactionPosted(
        transaction_id=ID,
        kind="transfer",
        currency="CZK",
        booked_on=TODAY,
        value_on=YESTERDAY,
        booked_at=AT,
        narrative="rent",
        legs=transaction.legs,
        key="key-0001",
    )


def test_a_service_that_acts_for_somebody_is_not_the_actor():
    assert posted(replace(order(), origin=Origin(actor="tara"))).actor == "tara"


def test_a_value_date_in_the_past_needs_a_permission_and_one_in_the_future_is_none():
    assert posted(order(value_on=TODAY)).value_on == TODAY
    assert posted(order(value_on=YESTERDAY, may_backdate=True)).value_on == YESTERDAY
    with pytest.raises(NotPermitted):
        posted(order(value_on=YESTERDAY))
    with pytest.raises(ValueDateInFuture):
        posted(order(value_on=TOMORROW, may_backdate=True))


def test_how_far_back_a_value_date_lies_depends_on_who_names_it():
    a_year, longer = (TODAY - timedelta(days=days) for days in (366, 367))
    assert posted(order(value_on=a_year, may_backdate=True)).value_on == a_year
    with pytest.raises(NotPermitted, match=r"ledger\.import"):
        posted(order(value_on=longer, may_backdate=True))
    for each in (longer, EARLIEST_BUSINESS_DATE):
        assert posted(order(value_on=each, may_import=True)).value_on == each
    for each in (EARLIEST_BUSINESS_DATE - timedelta(days=1), date.min):
        with pytest.raises(ValueDateTooEarly):
            posted(order(value_on=each, may_import=True))


@pytest.mark.parametrize("count", [2, 20])
def test_a_transaction_has_2_to_20_legs(count):
    assert order(*legs(count))
    with pytest.raises(Malformed):
        order(*legs(1 if count == 2 else 21))


def legs(count: int) -> list[tuple[str, int]]:
    return [(f"a{n}", 1) for n in range(1, count)] + [("a0", 1 - count)]


def test_what_is_wrong_with_the_form_is_said_in_this_order():
    with pytest.raises(Malformed):
        order(("alice", 0))
    with pytest.raises(domain.EmptyLeg):
        order(("alice", 5), ("bob", 0))
    with pytest.raises(NotBalanced):
        order(("alice", 5), ("alice", -4))
    with pytest.raises(AccountsNotDistinct):
        order(("alice", 5), ("alice", -5))


@pytest.mark.parametrize(
    ("kind", "limited"),
    [
        ("transfer", True),
        ("cash-withdrawal", True),
        ("cash-deposit", False),
        ("fee", False),
    ],
)
def test_limits_bind_what_a_customer_sends_and_takes_out(kind, limited):
    transaction, after = decide(order(kind=kind), BOOK, id=ID, at=AT)

    assert transaction.limited is limited is (kind in LIMITED)
    assert after["alice"].debited_minor == (30 if limited else 0)


def test_names_that_are_kept_or_published_do_not_change():
    kinds = (domain.TRANSFER, domain.CASH_DEPOSIT, domain.CASH_WITHDRAWAL)
    assert kinds == ("transfer", "cash-deposit", "cash-withdrawal")
    assert published.facts(domain) == {"transaction-posted": "transaction_id"}
    assert published.refusals(domain) == {
        "empty-leg": "conflict",
        "not-balanced": "conflict",
        "accounts-not-distinct": "conflict",
        "currency-mismatch": "conflict",
        "value-date-in-future": "conflict",
        "value-date-too-early": "conflict",
        "no-such-transaction": "not-found",
    }
