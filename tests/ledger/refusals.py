"""What the ledger refuses. Whoever posts meets the same order, whichever way they ask."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, Protocol
from uuid import uuid4

from cbs.kernel.account_number import account_number
from cbs.kernel.calendar import EARLIEST_BUSINESS_DATE, business_date
from cbs.kernel.money import Currency
from cbs.kernel.refusal import NotPermitted
from cbs.ledger.domain.account import (
    AccountBlocked,
    AccountClosed,
    AccountNotEmpty,
    CeilingBelowBalance,
    CeilingPassed,
    FloorAboveBalance,
    InsufficientFunds,
    LimitPerDay,
    LimitPerTransaction,
    NoSuchAccount,
    NumberTaken,
)
from cbs.ledger.domain.transaction import (
    AccountsNotDistinct,
    CurrencyMismatch,
    EmptyLeg,
    NoSuchTransaction,
    NotBalanced,
    ValueDateInFuture,
    ValueDateTooEarly,
)
from cbs.platform.context import now
from cbs.platform.operations import NoSuchRequest
from tests.platform.refusals import AskedOf, of_every_service
from tests.refusals import (
    ALWAYS,
    CROWDED,
    GRANTED,
    STRANGER,
    UNREADABLE,
    USED_KEY,
    WHO,
    Asked,
    Operation,
    RuleBook,
    on_the_bus,
    over_http,
    replay_nothing,
    rule,
)
from tests.serving import Served

AMOUNT_MINOR, CASH, EUROS = 100, "INR-CASH", Currency.EUR
SERIALS = count(1)
LONG_AGO = (EARLIEST_BUSINESS_DATE - business_date(now())).days - 1

LIMITS = (
    rule(LimitPerTransaction, limit_per_transaction_minor=AMOUNT_MINOR - 1),
    rule(LimitPerDay, limit_per_day_minor=AMOUNT_MINOR - 1),
)
OF_THE_ACCOUNTS = (
    rule(CurrencyMismatch, payer_currency=EUROS, payer_known=True),
    rule(CurrencyMismatch, payee_currency=EUROS, payee_known=True),
    rule(NoSuchAccount, payer_known=False),
    rule(NoSuchAccount, payee_known=False),
    rule(AccountClosed, payer_closed=True),
    rule(AccountClosed, payee_closed=True),
    rule(AccountBlocked, payer_blocked=True),
    rule(AccountBlocked, payee_blocked=True),
    *LIMITS,
    rule(InsufficientFunds, holding_minor=AMOUNT_MINOR - 1),
    rule(CeilingPassed, ceiling_minor=AMOUNT_MINOR - 1),
)
OF_THE_FORM = (
    rule(EmptyLeg, empty_leg=True),
    rule(NotBalanced, balanced=False),
    rule(AccountsNotDistinct, distinct=False),
)
OF_THE_DATE = (
    rule(ValueDateInFuture, value_in_days=1),
    rule(NotPermitted, value_in_days=-1),
    rule(ValueDateTooEarly, value_in_days=LONG_AGO, may_import=True),
)
POSTING = (
    rule(NotPermitted, kind_permitted=False),
    *OF_THE_FORM,
    USED_KEY,
    *OF_THE_DATE,
    *OF_THE_ACCOUNTS,
)


@dataclass(kw_only=True)
class Posting(Asked):
    """A transfer that the payer has the money for, to the last unit."""

    kind_permitted: bool = True
    empty_leg: bool = False
    balanced: bool = True
    distinct: bool = True
    value_in_days: int = 0
    may_import: bool = False
    payer_known: bool = True
    payee_known: bool = True
    payer_currency: Currency = Currency.INR
    payee_currency: Currency = Currency.INR
    payer_closed: bool = False
    payee_closed: bool = False
    payer_blocked: bool = False
    payee_blocked: bool = False
    limit_per_transaction_minor: int = AMOUNT_MINOR
    limit_per_day_minor: int = AMOUNT_MINOR
    holding_minor: int = AMOUNT_MINOR
    ceiling_minor: int = AMOUNT_MINOR

    @property
    def permissions(self) -> list[str]:
        own = ["payments.transfer"] if self.kind_permitted else []
        return [*own, *(["ledger.import"] if self.may_import else [])]

    @property
    def payer_terms(self) -> dict[str, Any]:
        return {
            "closed": self.payer_closed,
            "debit_blocked": self.payer_blocked,
            "limit_per_transaction_minor": self.limit_per_transaction_minor,
            "limit_per_day_minor": self.limit_per_day_minor,
        }

    @property
    def payee_terms(self) -> dict[str, Any]:
        return {
            "closed": self.payee_closed,
            "credit_blocked": self.payee_blocked,
            "ceiling_minor": self.ceiling_minor,
        }

    def legs(self, payer: str, payee: str) -> list[tuple[str, int]]:
        legs = [(payer, -AMOUNT_MINOR), (payee, AMOUNT_MINOR)]
        legs += [("SOMEBODY", 0)] if self.empty_leg else []
        legs += [] if self.balanced else [("ANYBODY", 1)]
        return legs + ([] if self.distinct else [(payee, 1), (payee, -1)])


class Book(Protocol):
    """Where a test opens accounts (version 1), changes their terms (later ones), pays cash in."""

    async def set(self, number: str, **terms: Any) -> Any: ...
    async def fund(self, number: str, minor: int) -> None: ...


async def accounts_of(posting: Posting, book: Book) -> tuple[str, str]:
    """The payer and the payee, such as the posting says they are."""
    payer, payee = (account_number(branch=1, serial=next(SERIALS)) for _ in range(2))
    if posting.payer_known:
        await book.set(payer, currency=posting.payer_currency)
        if not posting.payer_closed and posting.payer_currency is Currency.INR:
            await book.fund(payer, posting.holding_minor)
        await book.set(payer, version=2, **posting.payer_terms)
    if posting.payee_known:
        await book.set(payee, currency=posting.payee_currency)
        await book.set(payee, version=2, **posting.payee_terms)
    return payer, payee


@dataclass(frozen=True)
class OnTheBus:
    """The book of a ledger that runs."""

    ledger: Served

    async def set(
        self, number: str, *, version: int = 1, currency: str = "INR", **terms: Any
    ) -> None:
        wanted: dict[str, Any] = {"number": number, "terms": {"version": version, **terms}}
        verb = "change-terms"
        if version == 1:
            verb, wanted = "open-account", {**wanted, "kind": "customer", "currency": currency}
        await self._ask(verb, wanted, "internal")

    async def fund(self, number: str, minor: int) -> None:
        wanted = posting_body("cash-deposit", [(CASH, -minor), (number, minor)])
        await self._ask("post", wanted, "payments.cash")

    async def _ask(self, verb: str, wanted: dict[str, Any], permission: str) -> None:
        said = await on_the_bus(self.ledger, verb, Asked(), wanted, permissions=[permission])
        assert said == GRANTED, (verb, wanted, said)


def posting_body(kind: str, legs: list[tuple[str, int]], value_in_days: int = 0) -> dict[str, Any]:
    body = {
        "kind": kind,
        "currency": "INR",
        "legs": [{"account": account, "amount_minor": minor} for account, minor in legs],
    }
    if value_in_days:
        body["value_on"] = str(business_date(now()) + timedelta(days=value_in_days))
    return body


async def body_of(posting: Posting, ledger: Served) -> dict[str, Any]:
    legs = posting.legs(*await accounts_of(posting, OnTheBus(ledger)))
    return posting_body("transfer", legs, posting.value_in_days)


async def post_over_http(ledger: Served, posting: Posting) -> str:
    permissions = posting.permissions
    body = await body_of(posting, ledger)
    return await over_http(ledger, "ledger.post", posting, body=body, permissions=permissions)


async def post_on_the_bus(ledger: Served, posting: Posting) -> str:
    permissions = posting.permissions
    body = await body_of(posting, ledger)
    return await on_the_bus(ledger, "post", posting, body, permissions=permissions)


@dataclass(kw_only=True)
class Opening(Asked):
    """Of a number that is free, unless it is open in a currency and on terms already."""

    open_already: tuple[Currency, dict[str, Any]] | None = None
    floor_minor: int = 0
    ceiling_minor: int = 0


async def open_over_http(ledger: Served, opening: Opening) -> str:
    name = f"X{next(SERIALS)}"
    if opening.open_already is not None:
        currency, terms = opening.open_already
        await OnTheBus(ledger).set(f"INR-{name}", currency=currency, **terms)
    body = {
        "name": name,
        "currency": "INR",
        "floor_minor": opening.floor_minor,
        "ceiling_minor": opening.ceiling_minor,
    }
    return await over_http(ledger, "ledger.open-account", opening, body=body)


async def open_on_the_bus(ledger: Served, opening: Opening) -> str:
    number = account_number(branch=1, serial=next(SERIALS))
    if opening.open_already is not None:
        currency, terms = opening.open_already
        await OnTheBus(ledger).set(number, currency=currency, **terms)
    terms = {
        "version": 1,
        "floor_minor": opening.floor_minor,
        "ceiling_minor": opening.ceiling_minor,
    }
    wanted = {"number": number, "kind": "customer", "currency": "INR", "terms": terms}
    return await on_the_bus(ledger, "open-account", opening, wanted)


@dataclass(kw_only=True)
class NewTerms(AskedOf):
    """Of a customer's account that holds AMOUNT_MINOR."""

    kind: str = "customer"
    closed: bool = False
    floor_minor: int = AMOUNT_MINOR
    ceiling_minor: int = AMOUNT_MINOR


async def _on_terms(ledger: Served, terms: NewTerms) -> tuple[str, dict[str, Any]]:
    number, book = account_number(branch=1, serial=next(SERIALS)), OnTheBus(ledger)
    if terms.known:
        await book.set(number)
        await book.fund(number, AMOUNT_MINOR)
    return number, {
        "version": 2,
        "closed": terms.closed,
        "floor_minor": terms.floor_minor,
        "ceiling_minor": terms.ceiling_minor,
    }


async def change_terms(ledger: Served, terms: NewTerms) -> str:
    number, wanted = await _on_terms(ledger, terms)
    return await on_the_bus(ledger, "change-terms", terms, {"number": number, "terms": wanted})


async def set_account(ledger: Served, terms: NewTerms) -> str:
    number, wanted = await _on_terms(ledger, terms)
    wanted |= {"number": number, "kind": terms.kind, "currency": "INR"}
    return await on_the_bus(ledger, "set-account", terms, wanted)


def of_an_account(operation: str, **query: str) -> Any:
    async def ask(ledger: Served, asked: AskedOf) -> str:
        path = {"number": CASH if asked.known else "INR-NOBODY"}
        return await over_http(ledger, operation, asked, path=path, query=query)

    return ask


async def accounts_over_http(ledger: Served, asked: Asked) -> str:
    return await over_http(ledger, "ledger.accounts", asked)


async def _transaction(ledger: Served, asked: AskedOf) -> str:
    if not asked.known:
        return str(uuid4())
    await OnTheBus(ledger).fund("INR-FEES", 1)
    async with ledger.client("olga", "ledger.read") as olga:
        found = await olga.get("/v1/ledger/accounts/INR-FEES/postings?limit=1")
    return str(found.json()["items"][0]["transaction_id"])


async def transaction_over_http(ledger: Served, asked: AskedOf) -> str:
    path = {"transaction_id": await _transaction(ledger, asked)}
    return await over_http(ledger, "ledger.transaction", asked, path=path)


async def transaction_on_the_bus(ledger: Served, asked: AskedOf) -> str:
    wanted = {"id": await _transaction(ledger, asked)}
    return await on_the_bus(ledger, "transaction", asked, wanted)


async def request_on_the_bus(ledger: Served, asked: AskedOf) -> str:
    key = uuid4().hex
    if asked.known:
        await replay_nothing(ledger, key)
    return await on_the_bus(ledger, "request", asked, {"principal": WHO, "key": key})


async def accounts_on_the_bus(ledger: Served, asked: Asked) -> str:
    return await on_the_bus(ledger, "accounts", asked, {"numbers": [CASH]})


async def history_on_the_bus(ledger: Served, asked: Asked) -> str:
    return await on_the_bus(ledger, "history", asked, {"number": CASH})


OPENING = (
    rule(NumberTaken, open_already=(EUROS, {})),
    rule(NumberTaken, open_already=(Currency.INR, {"debit_blocked": True})),
    rule(FloorAboveBalance, floor_minor=1),
    rule(CeilingBelowBalance, ceiling_minor=-1),
)
TERMS = (
    rule(AccountNotEmpty, closed=True),
    rule(FloorAboveBalance, floor_minor=AMOUNT_MINOR + 1),
    rule(CeilingBelowBalance, ceiling_minor=AMOUNT_MINOR - 1),
)
ACCOUNT = (*ALWAYS, rule(NoSuchAccount, known=False))
TRANSACTION = (*ALWAYS, rule(NoSuchTransaction, known=False))

BOOK: RuleBook = {
    "ledger.post": Operation((*ALWAYS, *POSTING), Posting, post_over_http),
    "cbs.ledger.post": Operation(
        (CROWDED, STRANGER, UNREADABLE, *POSTING), Posting, post_on_the_bus
    ),
    "ledger.open-account": Operation((*ALWAYS, USED_KEY, *OPENING), Opening, open_over_http),
    "cbs.ledger.open-account": Operation((*ALWAYS, *OPENING), Opening, open_on_the_bus),
    "cbs.ledger.change-terms": Operation(
        (*ALWAYS, rule(NoSuchAccount, known=False), *TERMS), NewTerms, change_terms
    ),
    "cbs.ledger.set-account": Operation(
        (*ALWAYS, rule(NumberTaken, kind="internal"), *TERMS), NewTerms, set_account
    ),
    "ledger.accounts": Operation(ALWAYS, Asked, accounts_over_http),
    "ledger.account": Operation(ACCOUNT, AskedOf, of_an_account("ledger.account")),
    "ledger.balance": Operation(
        ACCOUNT, AskedOf, of_an_account("ledger.balance", value_on="2026-01-01")
    ),
    "ledger.history": Operation(ACCOUNT, AskedOf, of_an_account("ledger.history")),
    "ledger.transaction": Operation(TRANSACTION, AskedOf, transaction_over_http),
    "cbs.ledger.transaction": Operation(TRANSACTION, AskedOf, transaction_on_the_bus),
    "cbs.ledger.request": Operation(
        (*ALWAYS, rule(NoSuchRequest, known=False)), AskedOf, request_on_the_bus
    ),
    "cbs.ledger.accounts": Operation(ALWAYS, Asked, accounts_on_the_bus),
    "cbs.ledger.history": Operation(ALWAYS, Asked, history_on_the_bus),
    **of_every_service("ledger"),
}
