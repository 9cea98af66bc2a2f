"""The ledger's rule book where it is decided, in the domain, and where it is kept, in the book."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.calendar import business_date
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Refusal
from cbs.ledger.domain.account import Account, AccountKind, Terms
from cbs.ledger.domain.transaction import (
    CASH_DEPOSIT,
    CASH_WITHDRAWAL,
    TRANSFER,
    Order,
    decide,
)
from cbs.platform.context import new_id, now
from tests.ledger.orders import order_of
from tests.ledger.refusals import (
    AMOUNT_MINOR,
    LIMITS,
    OF_THE_ACCOUNTS,
    OF_THE_DATE,
    OF_THE_FORM,
    OPENING,
    TERMS,
    NewTerms,
    Opening,
    Posting,
    accounts_of,
)
from tests.ledger.test_book import Opened, opened  # noqa: F401
from tests.refusals import GRANTED, Rule, pairs

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
RULES = (*OF_THE_FORM, *OF_THE_DATE, *OF_THE_ACCOUNTS)
UNLIMITED = tuple(each for each in OF_THE_ACCOUNTS if each not in LIMITS)


def ordered(posting: Posting, payer: str, payee: str, *, kind: str, at: datetime) -> Order:
    day = business_date(at) + timedelta(days=posting.value_in_days)
    legs, may_import = posting.legs(payer, payee), posting.may_import
    return order_of(legs, kind=kind, value_on=day, may_import=may_import)


def decided(posting: Posting, *, kind: str = TRANSFER, backwards: bool = False) -> str:
    """What the domain says; `backwards` has the legs in the other order."""
    terms = {"payer": posting.payer_terms, "payee": posting.payee_terms}
    currencies = {"payer": posting.payer_currency, "payee": posting.payee_currency}
    balances = {"payer": posting.holding_minor, "payee": 0}
    accounts = {
        name: account(name, currencies[name], Terms(**terms[name]), balances[name])
        for name, known in (("payer", posting.payer_known), ("payee", posting.payee_known))
        if known
    }
    try:
        order = ordered(posting, "payer", "payee", kind=kind, at=NOON)
        if backwards:
            order = order_of(
                [(leg.account, leg.amount_minor) for leg in reversed(order.wanted.legs)],
                kind=kind,
                value_on=order.wanted.value_on,
                may_import=posting.may_import,
            )
        decide(order, accounts, id=new_id(), at=NOON)
    except Refusal as refusal:
        return refusal.code
    return GRANTED


def each_and_both(rules: Sequence[Rule]) -> list[tuple[dict[str, Any], str]]:
    """Nothing wrong, each rule alone, and each two that one request can break: what is said."""
    alone = [(each.change, each.refusal.code) for each in rules]
    both = [(one.change | other.change, one.refusal.code) for one, other in pairs(rules)]
    return [({}, GRANTED), *alone, *both]


@pytest.mark.parametrize(("change", "code"), each_and_both(RULES))
def test_a_transfer_is_refused_in_this_order_whatever_the_order_of_its_legs(change, code):
    assert decided(Posting(**change)) == decided(Posting(**change), backwards=True) == code


@pytest.mark.parametrize("kind", [TRANSFER, CASH_WITHDRAWAL])
def test_limits_bind_what_a_customer_pays_and_takes_out(kind):
    assert decided(Posting(), kind=kind) == GRANTED
    for limit in LIMITS:
        assert decided(Posting(**limit.change), kind=kind) == limit.refusal.code


@pytest.mark.parametrize("kind", [CASH_DEPOSIT, "fee", "interest"])
def test_limits_do_not_bind_the_bank_and_all_else_does(kind):
    for limit in LIMITS:
        assert decided(Posting(**limit.change), kind=kind) == GRANTED
    for each in UNLIMITED:
        assert decided(Posting(**each.change), kind=kind) == each.refusal.code


@pytest.mark.parametrize("kind", [TRANSFER, CASH_WITHDRAWAL])
async def test_the_book_keeps_the_rules(opened: Opened, kind: str):  # noqa: F811
    """One batch: every order but the first breaks a rule, or two, and moves nothing."""
    cases = each_and_both((*OF_THE_DATE, *OF_THE_ACCOUNTS))
    postings = [Posting(**change) for change, _ in cases]
    sides = [await accounts_of(posting, opened) for posting in postings]

    outcomes = await opened.post(
        *(
            ordered(posting, *side, kind=kind, at=now())
            for posting, side in zip(postings, sides, strict=True)
        )
    )

    assert [said(outcome) for outcome in outcomes] == [code for _, code in cases]
    payees = [payee for (_, payee), each in zip(sides, postings, strict=True) if each.payee_known]
    balances = [await opened.balance(payee) for payee in payees]
    assert balances == [AMOUNT_MINOR] + [0] * (len(payees) - 1)


def said(outcome: Answer | Refusal) -> str:
    if isinstance(outcome, Refusal):
        return outcome.code
    if not outcome.is_refusal:
        return GRANTED
    return str(msgspec.json.decode(outcome.body)["type"]).removeprefix("urn:cbs:")


def a_new_one(opening: Opening) -> dict[str, Any]:
    terms = Terms(floor_minor=opening.floor_minor, ceiling_minor=opening.ceiling_minor)
    return {"kind": AccountKind.CUSTOMER, "currency": Currency.INR, "terms": terms}


OPENINGS, NEW_TERMS = each_and_both(OPENING), each_and_both(TERMS)


def test_an_account_is_opened_on_terms_that_an_empty_one_can_keep():
    heard: list[str] = []
    for change, _ in OPENINGS:
        opening = Opening(**change)
        with noting(heard):
            if opening.open_already is None:
                Account.open(number="new", **wanted(opening))
            else:
                currency, terms = opening.open_already
                account("new", currency, Terms(**terms)).check_same(**wanted(opening))

    assert heard == [code for _, code in OPENINGS]


async def test_the_book_opens_no_other_account(opened: Opened):  # noqa: F811
    heard: list[str] = []
    for place, (change, _) in enumerate(OPENINGS):
        opening, number = Opening(**change), f"new-{place}"
        if opening.open_already is not None:
            currency, terms = opening.open_already
            await opened.set(number, currency=currency, **terms)
        with noting(heard):
            async with opened.transaction():
                await opened.book.open_account(number=number, **wanted(opening))

    assert heard == [code for _, code in OPENINGS]


def test_terms_change_to_what_the_balance_allows():
    heard: list[str] = []
    for change, _ in NEW_TERMS:
        with noting(heard):
            known = account("known", Currency.INR, Terms(), AMOUNT_MINOR)
            known.change_terms(terms_of(NewTerms(**change)))

    assert heard == [code for _, code in NEW_TERMS]


async def test_the_book_keeps_no_other_terms(opened: Opened):  # noqa: F811
    heard: list[str] = []
    for place, (change, _) in enumerate(NEW_TERMS):
        number, terms = f"known-{place}", terms_of(NewTerms(**change))
        await opened.set(number)
        await opened.fund(number, AMOUNT_MINOR)
        with noting(heard):
            async with opened.transaction():
                await opened.book.change_terms(number=number, terms=terms)

    assert heard == [code for _, code in NEW_TERMS]


def wanted(opening: Opening) -> dict[str, Any]:
    terms = Terms(floor_minor=opening.floor_minor, ceiling_minor=opening.ceiling_minor)
    return {"kind": AccountKind.CUSTOMER, "currency": Currency.INR, "terms": terms}


def terms_of(terms: NewTerms) -> Terms:
    return Terms(
        version=2,
        closed=terms.closed,
        floor_minor=terms.floor_minor,
        ceiling_minor=terms.ceiling_minor,
    )


def account(number: str, currency: Currency, terms: Terms, balance_minor: int = 0) -> Account:
    return Account(
        number=number,
        kind=AccountKind.CUSTOMER,
        currency=currency,
        terms=terms,
        balance_minor=balance_minor,
    )


@contextmanager
def noting(heard: list[str]) -> Iterator[None]:
    """What is said of the work in it."""
    try:
        yield
        heard.append(GRANTED)
    except Refusal as refusal:
        heard.append(refusal.code)
