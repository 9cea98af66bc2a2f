"""What a payment is made of, and what is said of one that is malformed."""

from typing import Any

import pytest

from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Malformed
from cbs.payments.domain import transfer as domain
from cbs.payments.domain.transfer import AccountsNotDistinct, Kind, Order
from tests import published

ONE, OTHER, TILL = "00010000000017", "00010000000025", "CZK-CASH"
SUM: dict[str, Any] = {"amount_minor": 5, "currency": Currency.CZK, "text": "rent"}


@pytest.mark.parametrize(
    ("order", "kind", "remitter", "beneficiary"),
    [
        (Order.transfer(remitter=ONE, beneficiary=OTHER, **SUM), "transfer", ONE, OTHER),
        (Order.cash_deposit(account=ONE, **SUM), "cash-deposit", TILL, ONE),
        (Order.cash_withdrawal(account=ONE, **SUM), "cash-withdrawal", ONE, TILL),
    ],
    ids=["transfer", "deposit", "withdrawal"],
)
def test_a_payment_says_who_pays_whom_how_much_and_why(order, kind, remitter, beneficiary):
    assert order == Order(
        kind=Kind(kind),
        remitter_account=remitter,
        beneficiary_account=beneficiary,
        amount_minor=5,
        currency=Currency.CZK,
        narrative="rent",
    )


@pytest.mark.parametrize(
    ("make", "accounts", "field"),
    [
        (Order.transfer, {"remitter": "1", "beneficiary": "1"}, "remitter_account"),
        (Order.transfer, {"remitter": ONE, "beneficiary": "1"}, "beneficiary_account"),
        (Order.cash_deposit, {"account": "1"}, "account"),
        (Order.cash_withdrawal, {"account": "1"}, "account"),
    ],
)
def test_what_is_malformed_is_named_as_the_caller_named_it(make, accounts, field):
    with pytest.raises(Malformed) as refused:
        make(**accounts, **SUM)

    assert refused.value.detail == f"{field}: not an account number of this bank"


def test_an_amount_is_looked_at_before_the_accounts_are_compared():
    with pytest.raises(Malformed, match="amount_minor"):
        Order.transfer(remitter=ONE, beneficiary=ONE, **{**SUM, "amount_minor": 0})
    with pytest.raises(AccountsNotDistinct):
        Order.transfer(remitter=ONE, beneficiary=ONE, **SUM)


@pytest.mark.parametrize(("amount_minor", "fits"), [(0, False), (1, True), (MINOR_UNITS_MAX, True)])
def test_the_smallest_payment_is_one_minor_unit_and_the_largest_what_the_books_take(
    amount_minor, fits
):
    def make(amount_minor: int) -> Order:
        return Order.cash_deposit(account=ONE, **{**SUM, "amount_minor": amount_minor})

    if fits:
        assert make(amount_minor).amount_minor == amount_minor
    else:
        with pytest.raises(Malformed):
            make(amount_minor)
    with pytest.raises(Malformed):
        make(MINOR_UNITS_MAX + 1)


def test_names_that_are_kept_or_published_do_not_change():
    assert [*Kind] == ["transfer", "cash-deposit", "cash-withdrawal"]
    assert published.refusals(domain) == {
        "no-such-transfer": "not-found",
        "accounts-not-distinct": "conflict",
        "no-such-account": "not-found",
        "account-closed": "conflict",
        "account-blocked": "conflict",
        "currency-mismatch": "conflict",
        "limit-per-transaction": "conflict",
        "limit-per-day": "conflict",
        "insufficient-funds": "conflict",
        "ceiling-passed": "conflict",
    }
