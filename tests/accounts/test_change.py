"""What each change makes of an account, and what listeners learn of it."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from cbs.accounts.domain import account as accounts
from cbs.accounts.domain import facts, freeze, holder, product
from cbs.accounts.domain.account import (
    Account,
    AccountIsFrozen,
    AccountNotOpen,
    ChangeUnderWay,
    State,
    Terms,
)
from cbs.accounts.domain.change import Change, Kind
from cbs.accounts.domain.freeze import Cause, Scope
from cbs.accounts.domain.holder import HolderStanding
from cbs.accounts.domain.product import (
    OverdraftOutOfRange,
    OverdraftsOutOfOrder,
    Product,
    ProductAdded,
    ProductKind,
)
from cbs.kernel.account_number import AccountNumber
from cbs.kernel.money import Currency
from tests import published
from tests.accounts.fakes import NOON, a_freeze, lifted

ID, CUSTOMER = UUID(int=1), UUID(int=2)
LATER = NOON + timedelta(hours=1)
# No two values alike, so that none can stand in another's place.
PRODUCT = Product(
    code="CURRENT-CZK",
    name="Current account",
    kind=ProductKind.CURRENT,
    currency=Currency.CZK,
    overdraft_min_minor=10,
    overdraft_max_minor=90,
    limit_per_transaction_minor=300,
    limit_per_day_minor=500,
    active=True,
)
TERMS = Terms(overdraft_minor=40, limit_per_transaction_minor=300, limit_per_day_minor=500)
OPENING = Account(
    id=ID,
    number=AccountNumber("00070000000019"),
    branch=7,
    customer_id=CUSTOMER,
    product="CURRENT-CZK",
    currency=Currency.CZK,
    terms=TERMS,
)
FREEZE = a_freeze(Scope.DEBITS, until=date(2026, 12, 1))
FROZEN = replace(TERMS, frozen=Scope.DEBITS)
FROZEN_BY: dict[str, Any] = {"terms": FROZEN, "freezes": (FREEZE,)}
OPEN = replace(OPENING, state=State.OPEN, acknowledged=1, awaiting_ledger=False, opened_at=NOON)


def test_an_account_begins_with_the_terms_of_its_product_and_awaits_the_ledger():
    opening = Account.opening(
        id=ID,
        number=OPENING.number,
        branch=7,
        customer_id=CUSTOMER,
        product=PRODUCT,
        overdraft_minor=40,
    )

    assert opening == OPENING
    assert (opening.state, opening.version, opening.acknowledged) == (State.OPENING, 1, 0)
    assert (opening.awaiting_ledger, opening.opened_at, opening.closed_at) == (True, None, None)
    assert opening.acknowledged_at(1, at=NOON) == OPEN


def test_terms_allow_no_overdraft_and_set_no_limit_unless_they_say_so():
    assert Terms() == Terms(
        overdraft_minor=0, limit_per_transaction_minor=None, limit_per_day_minor=None, frozen=None
    )


def test_a_freeze_and_its_end_change_the_terms_under_a_new_version():
    frozen = OPEN.freeze(FREEZE)

    assert frozen == replace(OPEN, version=2, **FROZEN_BY)
    assert not frozen.settled
    assert lifted(frozen) == replace(OPEN, version=3)
    assert frozen.acknowledged_at(2, at=LATER) == replace(frozen, acknowledged=2)


@pytest.mark.parametrize(("overdraft_minor", "awaits"), [(39, True), (40, False), (41, False)])
def test_limits_change_at_once_unless_the_floor_rises(overdraft_minor, awaits):
    limited = OPEN.limit(per_transaction_minor=1, per_day_minor=2, overdraft_minor=overdraft_minor)

    assert limited == replace(
        OPEN,
        terms=Terms(
            overdraft_minor=overdraft_minor, limit_per_transaction_minor=1, limit_per_day_minor=2
        ),
        version=2,
        awaiting_ledger=awaits,
    )
    assert limited.acknowledged_at(2, at=LATER) == replace(
        limited, acknowledged=2, awaiting_ledger=False
    )


def test_a_floor_rises_only_where_the_ledger_holds_all_that_stands_here():
    frozen = OPEN.freeze(a_freeze(Scope.DEBITS))

    with pytest.raises(ChangeUnderWay):
        frozen.limit(per_transaction_minor=None, per_day_minor=None, overdraft_minor=39)
    frozen.limit(per_transaction_minor=None, per_day_minor=None, overdraft_minor=40)


def test_an_account_is_closed_when_the_ledger_has_closed_it():
    closing = OPEN.close()

    assert closing == replace(OPEN, state=State.CLOSING, version=2, awaiting_ledger=True)
    assert closing.acknowledged_at(2, at=LATER) == replace(
        closing, state=State.CLOSED, acknowledged=2, awaiting_ledger=False, closed_at=LATER
    )


def test_what_the_ledger_refuses_is_reverted_under_a_newer_version():
    assert OPEN.close().reverted_to(TERMS) == replace(OPEN, version=3, awaiting_ledger=True)
    lowered = OPEN.limit(per_transaction_minor=1, per_day_minor=2, overdraft_minor=0)
    assert lowered.reverted_to(TERMS) == replace(OPEN, version=3, awaiting_ledger=True)
    for settled in (OPENING, OPEN, replace(OPEN.close(), awaiting_ledger=False)):
        with pytest.raises(AssertionError):
            settled.reverted_to(TERMS)


def test_an_account_that_the_ledger_did_not_open_is_none():
    assert OPENING.refused() == replace(OPENING, state=State.REFUSED, awaiting_ledger=False)
    with pytest.raises(AssertionError):
        OPEN.refused()


@pytest.mark.parametrize("acknowledged", [-1, 2])
def test_the_ledger_holds_no_version_that_was_not_made(acknowledged):
    replace(OPENING, acknowledged=0)
    with pytest.raises(AssertionError):
        replace(OPENING, acknowledged=acknowledged)


def test_what_stands_against_a_change_is_said_in_this_order():
    ended = replace(OPEN, state=State.CLOSED, awaiting_ledger=True, **FROZEN_BY)
    for act in (lambda: ended.freeze(FREEZE), ended.close):
        with pytest.raises(AccountNotOpen):
            act()
    awaiting = replace(OPEN, awaiting_ledger=True, **FROZEN_BY)
    for act in (lambda: awaiting.freeze(FREEZE), awaiting.close):
        with pytest.raises(ChangeUnderWay):
            act()
    with pytest.raises(ChangeUnderWay):
        replace(OPEN, version=2, **FROZEN_BY).close()
    with pytest.raises(AccountIsFrozen):
        replace(OPEN, **FROZEN_BY).close()


OF_THE_ACCOUNT: dict[str, Any] = {"account_id": ID, "number": "00070000000019"}


@pytest.mark.parametrize(
    ("kind", "terms", "event"),
    [
        (
            Kind.OPEN,
            TERMS,
            facts.AccountOpened(
                **OF_THE_ACCOUNT,
                customer_id=CUSTOMER,
                product="CURRENT-CZK",
                currency="CZK",
                branch=7,
                overdraft_minor=40,
                limit_per_transaction_minor=300,
                limit_per_day_minor=500,
                opened_at=NOON,
                version=3,
            ),
        ),
        (
            Kind.LIMITS,
            TERMS,
            facts.LimitsChanged(
                **OF_THE_ACCOUNT,
                overdraft_minor=40,
                limit_per_transaction_minor=300,
                limit_per_day_minor=500,
                version=3,
            ),
        ),
        (
            Kind.FREEZE,
            FROZEN,
            facts.AccountFrozen(**OF_THE_ACCOUNT, scope="debits", reason="lost", version=3),
        ),
        (
            Kind.UNFREEZE,
            TERMS,
            facts.AccountUnfrozen(**OF_THE_ACCOUNT, reason="lost", version=3),
        ),
        (
            Kind.CLOSE,
            TERMS,
            facts.AccountClosed(**OF_THE_ACCOUNT, reason="lost", closed_at=LATER, version=3),
        ),
    ],
)
def test_a_change_is_told_as_it_came_about(kind, terms, event):
    change = Change(account_id=ID, kind=kind, version=3, terms=terms, former=Terms(), reason="lost")

    account = replace(OPEN, version=9, acknowledged=9, closed_at=LATER)
    assert change.to_event(account) == event


@pytest.mark.parametrize(
    ("kind", "terms", "told", "frozen"),
    [
        (Kind.FREEZE, FROZEN, facts.AccountFrozen, "debits"),
        (Kind.FREEZE, replace(TERMS, frozen=Scope.ALL), facts.AccountFrozen, "all"),
        (Kind.UNFREEZE, TERMS, facts.AccountUnfrozen, None),
        (Kind.UNFREEZE, FROZEN, facts.AccountUnfrozen, "debits"),
    ],
)
def test_of_a_freeze_is_told_which_it_is_and_what_all_that_hold_stop(kind, terms, told, frozen):
    change = Change(
        account_id=ID, kind=kind, version=3, terms=terms, former=TERMS, reason="lost", freeze=FREEZE
    )
    own: dict[str, Any] = {"lifted_by": FREEZE.lifted_by, "lifted_at": FREEZE.lifted_at}
    if kind is Kind.FREEZE:
        placed = {name: getattr(FREEZE, name) for name in ("authority", "placed_by", "placed_at")}
        own = {"scope": "debits", **placed}

    assert change.to_event(OPEN) == told(
        **OF_THE_ACCOUNT,
        **own,
        reason="lost",
        version=3,
        freeze_id=FREEZE.id,
        cause="order",
        until=date(2026, 12, 1),
        frozen=frozen,
    )


def test_a_freeze_has_a_scope_and_a_reason_may_be_missing():
    change = Change(account_id=ID, kind=Kind.FREEZE, version=3, terms=TERMS, former=TERMS)

    assert change.reason == ""
    with pytest.raises(AssertionError):
        change.to_event(OPEN)


def test_a_product_is_told():
    assert PRODUCT.to_event() == ProductAdded(
        code="CURRENT-CZK",
        name="Current account",
        kind="current",
        currency="CZK",
        overdraft_min_minor=10,
        overdraft_max_minor=90,
        limit_per_transaction_minor=300,
        limit_per_day_minor=500,
        active=True,
    )


def test_an_overdraft_is_agreed_between_least_and_most():
    agreed = [PRODUCT.overdraft(wanted) for wanted in (None, 10, 90)]

    assert agreed == [10, 10, 90]
    for wanted in (9, 91):
        with pytest.raises(OverdraftOutOfRange):
            PRODUCT.overdraft(wanted)


@pytest.mark.parametrize(("least", "most"), [(-1, 0), (1, 0)])
def test_the_least_overdraft_is_between_nothing_and_the_most(least, most):
    replace(PRODUCT, overdraft_min_minor=0, overdraft_max_minor=0)
    with pytest.raises(OverdraftsOutOfOrder):
        replace(PRODUCT, overdraft_min_minor=least, overdraft_max_minor=most)


def test_names_that_are_kept_or_published_do_not_change():
    assert [*State] == ["opening", "open", "closing", "closed", "refused"]
    assert [*Scope] == ["debits", "all"]
    assert [*Kind] == ["open", "freeze", "unfreeze", "limits", "close"]
    assert [*ProductKind] == ["savings", "current"]
    assert published.facts(facts, product) == {
        "account-opened": "account_id",
        "account-opening-refused": "account_id",
        "account-frozen": "account_id",
        "account-unfrozen": "account_id",
        "limits-changed": "account_id",
        "account-closed": "account_id",
        "product-added": "code",
    }
    assert {each.fact for each in facts.FACTS} == published.facts(facts, product).keys()
    assert [*Cause] == ["order", "suspension"]
    assert [*HolderStanding] == ["active", "suspended", "closed"]
    assert published.refusals(accounts, freeze, holder, product) == {
        "no-such-account": "not-found",
        "account-not-open": "conflict",
        "account-frozen": "conflict",
        "already-suspended": "conflict",
        "not-frozen": "conflict",
        "no-such-freeze": "not-found",
        "several-freezes": "conflict",
        "frozen-with-customer": "conflict",
        "too-many-freezes": "conflict",
        "freeze-is-over": "conflict",
        "customer-has-accounts": "conflict",
        "standing-is-old": "conflict",
        "change-under-way": "unavailable",
        "account-not-empty": "conflict",
        "floor-above-balance": "conflict",
        "no-such-customer": "not-found",
        "customer-not-verified": "conflict",
        "customer-not-active": "conflict",
        "no-such-product": "not-found",
        "product-known": "conflict",
        "product-withdrawn": "conflict",
        "overdrafts-out-of-order": "conflict",
        "overdraft-out-of-range": "conflict",
    }
