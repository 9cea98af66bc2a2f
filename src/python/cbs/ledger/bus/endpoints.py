"""What other services ask the ledger; their tokens say what they may, their keys what was asked."""

import hashlib
from dataclasses import fields
from datetime import date
from typing import Annotated, Any
from unicodedata import is_normalized
from uuid import UUID

import msgspec

from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import KeyReused, Malformed, NotPermitted, Refusal
from cbs.kernel.text import LINE_OR_NOTHING
from cbs.ledger.application.book import Ledger, Posting
from cbs.ledger.bus.messages import AccountView
from cbs.ledger.domain.account import (
    POSTING_REFUSALS,
    AccountKind,
    AccountNotEmpty,
    CeilingBelowBalance,
    FloorAboveBalance,
    NoSuchAccount,
    NumberTaken,
    Terms,
)
from cbs.ledger.domain.days import Days
from cbs.ledger.domain.transaction import (
    CASH_DEPOSIT,
    CASH_WITHDRAWAL,
    TRANSFER,
    AccountsNotDistinct,
    CurrencyMismatch,
    EmptyLeg,
    NoSuchTransaction,
    NotBalanced,
    Order,
    Transaction,
    ValueDateInFuture,
    ValueDateTooEarly,
)
from cbs.platform.bus import Endpoint
from cbs.platform.context import current
from cbs.platform.database import Transactions
from cbs.platform.declaration import INTERNAL
from cbs.platform.envelope import Key, Text
from cbs.platform.idempotency import KeyedRequest, KeyStore
from cbs.platform.operations import NoSuchRequest
from cbs.platform.problem import refusal_of

ACCOUNTS_MAX, HISTORY_MAX, NARRATIVE_CHARACTERS_MAX = 200, 200, 140

NUMBER_CHARACTERS_MAX, NUMBER_FORM = 34, r"^[A-Z0-9-]+$(?!\n)"

EXACT_MAX = 2**53 - 1  # in every reader of JSON
AmountMinor = Annotated[int, msgspec.Meta(ge=-MINOR_UNITS_MAX, le=MINOR_UNITS_MAX)]
Number = Annotated[
    str, msgspec.Meta(min_length=1, max_length=NUMBER_CHARACTERS_MAX, pattern=NUMBER_FORM)
]
# A statement has it on one line, and PostgreSQL keeps no U+0000.
Narrative = Annotated[
    str, msgspec.Meta(max_length=NARRATIVE_CHARACTERS_MAX, pattern=LINE_OR_NOTHING)
]

PERMISSION = {
    TRANSFER: "payments.transfer",
    CASH_DEPOSIT: "payments.cash",
    CASH_WITHDRAWAL: "payments.cash",
}
OTHER_PERMISSION = "ledger.post"
BACKDATE_PERMISSION, IMPORT_PERMISSION = "ledger.backdate", "ledger.import"

POST_REFUSALS: tuple[type[Refusal], ...] = (
    NotPermitted,
    EmptyLeg,
    NotBalanced,
    AccountsNotDistinct,
    KeyReused,
    ValueDateInFuture,
    ValueDateTooEarly,
    CurrencyMismatch,
    NoSuchAccount,
    *POSTING_REFUSALS,
)
OPENING_REFUSALS = (NumberTaken, FloorAboveBalance, CeilingBelowBalance)
TERMS_REFUSALS = (NoSuchAccount, AccountNotEmpty, FloorAboveBalance, CeilingBelowBalance)
SET_ACCOUNT_REFUSALS = (NumberTaken, AccountNotEmpty, FloorAboveBalance, CeilingBelowBalance)


class LegWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A positive amount credits, a negative one debits."""

    account: Number
    amount_minor: AmountMinor


class Post(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Wants a transaction posted. The legs sum to zero; `value_on` absent is the booking date."""

    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{2,31}$(?!\n)")]
    currency: Currency
    legs: Annotated[list[LegWanted], msgspec.Meta(min_length=2, max_length=20)]
    value_on: date | None = None
    narrative: Narrative = ""


class TermsWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whoever owns the account raises the version with each change of its terms."""

    version: Annotated[int, msgspec.Meta(ge=1, le=EXACT_MAX)]
    floor_minor: AmountMinor | None = 0
    ceiling_minor: AmountMinor | None = None
    limit_per_transaction_minor: AmountMinor | None = None
    limit_per_day_minor: AmountMinor | None = None
    debit_blocked: bool = False
    credit_blocked: bool = False
    closed: bool = False

    def terms(self) -> Terms:
        return Terms(**{each.name: getattr(self, each.name) for each in fields(Terms)})


class OpenAccount(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Opens an account on these terms; again, it gives the one that is open."""

    number: Number
    kind: AccountKind
    currency: Currency
    terms: TermsWanted


class ChangeTerms(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Puts an account on terms; a version that is not newer than the known one does nothing."""

    number: Number
    terms: TermsWanted


class SetAccount(TermsWanted, kw_only=True, forbid_unknown_fields=True):
    """Puts an account on terms; a version that is not newer than the known one does nothing."""

    number: Number
    kind: AccountKind
    currency: Currency


class Accounts(msgspec.Struct, kw_only=True):
    numbers: Annotated[list[Number], msgspec.Meta(max_length=ACCOUNTS_MAX)]


class AccountsFound(msgspec.Struct, kw_only=True):
    accounts: list[AccountView]


class History(msgspec.Struct, kw_only=True):
    """The postings of an account before `before`, newest first; of the days from `since` to
    `until`, both included, by booking or by value date."""

    number: Number
    before: Annotated[int, msgspec.Meta(ge=1, le=EXACT_MAX)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=HISTORY_MAX)] = 50
    since: date | None = None
    until: date | None = None
    by_value: bool = False


class HistoryPage(msgspec.Struct, kw_only=True):
    postings: list[Posting]


class TransactionWanted(msgspec.Struct, kw_only=True):
    id: UUID


class RequestWanted(msgspec.Struct, kw_only=True):
    principal: Text
    key: Key


class Posted(msgspec.Struct, kw_only=True):
    transaction: Transaction


def order_of(wanted: Post, *, key: str) -> Order:
    """The order of the principal in hand; raises NotPermitted and Malformed."""
    if not key:
        raise Malformed("a posting needs a key")
    if not is_normalized("NFC", wanted.narrative):
        raise Malformed("narrative: not in Unicode's normal form C")
    context = current()
    context.principal.must(PERMISSION.get(wanted.kind, OTHER_PERMISSION))
    return Order(
        principal=context.principal.id,
        key=key,
        fingerprint=hashlib.sha256(msgspec.json.encode(wanted)).digest(),
        wanted=wanted,
        may_backdate=context.principal.may(BACKDATE_PERMISSION),
        may_import=context.principal.may(IMPORT_PERMISSION),
        origin=context.origin,
    )


class Desk:
    """Translates what arrives on the bus, and calls."""

    def __init__(self, *, ledger: Ledger, database: Transactions, requests: KeyStore) -> None:
        self.ledger, self.database, self.requests = ledger, database, requests

    async def post(self, wanted: Post, key: str) -> msgspec.Raw:
        answer = await self.ledger.post(order_of(wanted, key=key))
        if answer.is_refusal:
            raise refusal_of(answer)
        return msgspec.Raw(answer.body)

    async def open_account(self, wanted: OpenAccount, _key: str) -> AccountView:
        async with self.database.transaction():
            account = await self.ledger.book.open_account(
                number=wanted.number,
                kind=wanted.kind,
                currency=wanted.currency,
                terms=wanted.terms.terms(),
            )
        return AccountView.of(account)

    async def change_terms(self, wanted: ChangeTerms, _key: str) -> AccountView:
        async with self.database.transaction():
            account = await self.ledger.book.change_terms(
                number=wanted.number, terms=wanted.terms.terms()
            )
        return AccountView.of(account)

    async def set_account(self, wanted: SetAccount, _key: str) -> AccountView:
        async with self.database.transaction():
            account = await self.ledger.set_account(
                number=wanted.number,
                kind=wanted.kind,
                currency=wanted.currency,
                terms=wanted.terms(),
            )
        return AccountView.of(account)

    async def accounts(self, wanted: Accounts, _key: str) -> AccountsFound:
        found = await self.ledger.book.accounts(wanted.numbers) if wanted.numbers else []
        return AccountsFound(accounts=[AccountView.of(account) for account in found])

    async def history(self, wanted: History, _key: str) -> HistoryPage:
        days = Days(since=wanted.since, until=wanted.until, by_value=wanted.by_value)
        before, limit = wanted.before or 2**62, wanted.limit
        found = await self.ledger.book.history(wanted.number, before=before, limit=limit, of=days)
        return HistoryPage(postings=found)

    async def transaction(self, wanted: TransactionWanted, _key: str) -> Posted:
        found = await self.ledger.transaction(wanted.id)
        return Posted(transaction=found)

    async def request(self, wanted: RequestWanted, _key: str) -> KeyedRequest:
        found = await self.requests.find(principal=wanted.principal, key=wanted.key)
        if found is None:
            raise NoSuchRequest
        return found

    def endpoints(self) -> list[Endpoint[Any]]:
        return [
            Endpoint(
                verb="post",
                takes=Post,
                gives=Posted,
                handle=self.post,
                permission=None,
                refuses=POST_REFUSALS,
                doc="Post a transaction, once for its key; the kind decides the permission",
            ),
            _internal(
                "open-account", OpenAccount, AccountView, self.open_account, *OPENING_REFUSALS
            ),
            _internal("change-terms", ChangeTerms, AccountView, self.change_terms, *TERMS_REFUSALS),
            _internal(
                "set-account", SetAccount, AccountView, self.set_account, *SET_ACCOUNT_REFUSALS
            ),
            _internal("accounts", Accounts, AccountsFound, self.accounts),
            _internal("history", History, HistoryPage, self.history),
            _internal(
                "transaction", TransactionWanted, Posted, self.transaction, NoSuchTransaction
            ),
            _internal("request", RequestWanted, KeyedRequest, self.request, NoSuchRequest),
        ]


def _internal(
    verb: str, takes: type[Any], gives: type[Any], handle: Any, *refuses: type[Refusal]
) -> Endpoint[Any]:
    return Endpoint(
        verb=verb,
        takes=takes,
        gives=gives,
        handle=handle,
        permission=INTERNAL,
        refuses=refuses,
        doc=" ".join((takes.__doc__ or "").split()),
    )
