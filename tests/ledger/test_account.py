"""An account's own rules: what a posting leaves of it, and on which terms it goes on."""

from dataclasses import asdict, replace
from datetime import date

import pytest

from cbs.kernel.money import Currency
from cbs.ledger.domain import account as domain
from cbs.ledger.domain.account import (
    Account,
    AccountBlocked,
    AccountKind,
    AccountSet,
    CeilingPassed,
    InsufficientFunds,
    LimitPerDay,
    LimitPerTransaction,
    NumberTaken,
    Terms,
)
from tests import published

YESTERDAY, TODAY, TOMORROW = date(2026, 3, 31), date(2026, 4, 1), date(2026, 4, 2)
# No two of them alike, so that none can stand in another's place.
TERMS = Terms(
    floor_minor=-300,
    ceiling_minor=900,
    limit_per_transaction_minor=70,
    limit_per_day_minor=80,
    debit_blocked=True,
    version=4,
)
USED = Account(
    number="alice",
    kind=AccountKind.CUSTOMER,
    currency=Currency.CZK,
    terms=TERMS,
    balance_minor=500,
    postings=7,
    debited_on=TODAY,
    debited_minor=30,
)


def holding(minor: int, *, kind: AccountKind = AccountKind.CUSTOMER, **terms) -> Account:
    return replace(USED, kind=kind, balance_minor=minor, debited_minor=0, terms=Terms(**terms))


def test_a_new_account_is_empty_and_may_not_be_overdrawn():
    opened, told = Account.open(
        number="alice", kind=AccountKind.CUSTOMER, currency=Currency.CZK, terms=Terms()
    )

    assert opened == Account(
        number="alice",
        kind=AccountKind.CUSTOMER,
        currency=Currency.CZK,
        terms=Terms(
            floor_minor=0,
            ceiling_minor=None,
            limit_per_transaction_minor=None,
            limit_per_day_minor=None,
            debit_blocked=False,
            credit_blocked=False,
            closed=False,
            version=1,
        ),
        balance_minor=0,
        postings=0,
        debited_on=None,
        debited_minor=0,
    )
    assert told == opened.to_event()


@pytest.mark.parametrize(
    "terms", [Terms(floor_minor=0, ceiling_minor=0), Terms(floor_minor=None, ceiling_minor=None)]
)
def test_an_empty_account_is_at_its_bounds_or_has_none(terms):
    opened, _ = Account.open(
        number="alice", kind=AccountKind.INTERNAL, currency=Currency.INR, terms=terms
    )

    assert opened.terms == terms


def test_what_is_told_of_an_account_is_what_it_is():
    assert USED.to_event() == AccountSet(
        account="alice",
        kind="customer",
        currency="CZK",
        floor_minor=-300,
        ceiling_minor=900,
        limit_per_transaction_minor=TERMS.limit_per_transaction_minor,
        limit_per_day_minor=TERMS.limit_per_day_minor,
        debit_blocked=True,
        credit_blocked=False,
        closed=False,
        version=4,
    )
    closed = replace(USED, terms=replace(TERMS, closed=True, debit_blocked=False))
    assert (closed.to_event().closed, closed.to_event().debit_blocked) == (True, False)


@pytest.mark.parametrize("limited", [True, False])
def test_a_credit_moves_the_balance_and_counts_to_no_limit(limited):
    assert USED.posted(25, limited=limited, on=TODAY) == replace(
        USED, balance_minor=525, postings=8
    )


def test_a_debit_counts_to_the_limit_of_its_day_if_that_binds_it():
    assert USED.posted(-25, limited=True, on=TODAY) == replace(
        USED, balance_minor=475, postings=8, debited_minor=55
    )
    assert USED.posted(-25, limited=False, on=TODAY).debited_minor == 30
    assert USED.posted(-1, limited=True, on=TODAY).debited_minor == 31


def test_a_day_begins_with_nothing_counted():
    posted = USED.posted(-25, limited=True, on=TOMORROW)

    assert (posted.debited_on, posted.debited_minor) == (TOMORROW, 25)
    first = replace(USED, debited_on=None, debited_minor=0).posted(-25, limited=True, on=TODAY)
    assert (first.debited_on, first.debited_minor) == (TODAY, 25)


def test_on_an_earlier_day_the_later_one_counts_on():
    posted = USED.posted(-25, limited=True, on=YESTERDAY)

    assert (posted.debited_on, posted.debited_minor) == (TODAY, 55)


def test_a_customer_pays_to_the_last_unit_of_every_bound():
    paying = holding(0, floor_minor=-100, limit_per_transaction_minor=100, limit_per_day_minor=100)

    paying.check(-100, limited=True, on=TODAY)
    with pytest.raises(LimitPerTransaction):
        paying.check(-101, limited=True, on=TODAY)
    with pytest.raises(LimitPerDay):
        replace(paying, debited_minor=1).check(-100, limited=True, on=TODAY)
    with pytest.raises(InsufficientFunds):
        replace(paying, balance_minor=-1).check(-100, limited=True, on=TODAY)


def test_an_account_is_paid_to_the_last_unit_below_its_ceiling():
    holding(10, ceiling_minor=100).check(90, limited=True, on=TODAY)
    with pytest.raises(CeilingPassed):
        holding(10, ceiling_minor=100).check(91, limited=True, on=TODAY)


@pytest.mark.parametrize(("sign", "refusal"), [(1, CeilingPassed), (-1, InsufficientFunds)])
def test_no_balance_passes_what_a_reader_of_json_has_exactly(sign, refusal):
    most = sign * (2**53 - 1)
    account = holding(most - sign, kind=AccountKind.INTERNAL, floor_minor=None)

    account.check(sign, limited=False, on=TODAY)
    with pytest.raises(refusal):
        account.check(2 * sign, limited=False, on=TODAY)
    # One that an older release let pass comes back.
    replace(account, balance_minor=sign * 2**60).check(-sign, limited=False, on=TODAY)


@pytest.mark.parametrize("amount_minor", [1, -1])
def test_a_block_stops_one_direction(amount_minor):
    debits, credits = holding(1, debit_blocked=True), holding(1, credit_blocked=True)
    stopped, open_ = (credits, debits) if amount_minor > 0 else (debits, credits)

    open_.check(amount_minor, limited=False, on=TODAY)
    with pytest.raises(AccountBlocked):
        stopped.check(amount_minor, limited=False, on=TODAY)


@pytest.mark.parametrize(
    ("kind", "limited"), [(AccountKind.INTERNAL, True), (AccountKind.CUSTOMER, False)]
)
def test_limits_bind_a_customer_who_pays_and_nobody_else(kind, limited):
    limits = {"limit_per_transaction_minor": 9, "limit_per_day_minor": 9}

    holding(10, kind=kind, **limits).check(-10, limited=limited, on=TODAY)


def test_without_limits_and_floor_an_account_pays_anything():
    unlimited = holding(0, floor_minor=None)

    unlimited.check(-(10**15), limited=True, on=TODAY)
    unlimited.check(10**15, limited=True, on=TODAY)


def test_newer_terms_change_the_terms_and_nothing_else():
    terms = Terms(floor_minor=500, ceiling_minor=500, version=5)

    changed = USED.change_terms(terms)

    assert changed is not None
    account, told = changed
    assert account == replace(USED, terms=terms)
    assert told == account.to_event()


@pytest.mark.parametrize("version", [3, 4])
def test_terms_that_are_not_newer_change_nothing_and_are_not_even_checked(version):
    assert USED.change_terms(Terms(version=version, closed=True, ceiling_minor=0)) is None


def test_an_account_at_zero_can_be_closed_and_an_open_one_may_hold_money():
    empty = replace(USED, balance_minor=0).change_terms(Terms(closed=True, version=5))

    assert empty is not None and empty[0].terms.closed
    assert USED.change_terms(Terms(floor_minor=None, version=5)) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"kind": AccountKind.INTERNAL},
        {"currency": Currency.INR},
        {"terms": replace(TERMS, version=5)},
    ],
)
def test_an_account_is_opened_again_as_it_is_or_not_at_all(other):
    same = {key: asdict(USED)[key] for key in ("kind", "currency")} | {"terms": TERMS}

    USED.check_same(**same)
    with pytest.raises(NumberTaken):
        USED.check_same(**{**same, **other})


def test_names_that_are_kept_or_published_do_not_change():
    assert [*AccountKind] == ["customer", "internal"]
    assert published.facts(domain) == {"account-set": "account"}
    assert published.refusals(domain) == {
        "no-such-account": "not-found",
        "account-closed": "conflict",
        "account-blocked": "conflict",
        "limit-per-transaction": "conflict",
        "limit-per-day": "conflict",
        "insufficient-funds": "conflict",
        "ceiling-passed": "conflict",
        "account-not-empty": "conflict",
        "floor-above-balance": "conflict",
        "ceiling-below-balance": "conflict",
        "number-taken": "conflict",
    }
