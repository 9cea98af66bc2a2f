"""How the book looks from outside."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from cbs.kernel.money import Currency
from cbs.kernel.published import published_as
from cbs.ledger.application.book import Posting
from cbs.ledger.domain.account import Account, AccountKind
from cbs.ledger.domain.transaction import Transaction


class LegView(msgspec.Struct, kw_only=True):
    account: str
    amount_minor: int
    balance_after_minor: int
    seq: int


class TransactionView(msgspec.Struct, kw_only=True):
    id: UUID
    kind: str
    currency: Currency
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str
    actor: str
    legs: list[LegView]

    @classmethod
    def of(cls, transaction: Transaction) -> "TransactionView":
        return cls(
            id=transaction.id,
            kind=transaction.kind,
            currency=transaction.currency,
            booked_on=transaction.booked_on,
            value_on=transaction.value_on,
            booked_at=transaction.booked_at,
            narrative=transaction.narrative,
            actor=transaction.actor,
            legs=[
                LegView(
                    account=leg.account,
                    amount_minor=leg.amount_minor,
                    balance_after_minor=leg.balance_after_minor,
                    seq=leg.seq,
                )
                for leg in transaction.legs
            ],
        )


@published_as("cbs.ledger.api.views.AccountView")
class AccountView(msgspec.Struct, kw_only=True):
    """`debited_minor` counts to the daily limit of `debited_on`; `postings` are how many."""

    number: str
    kind: AccountKind
    currency: Currency
    balance_minor: int
    postings: int
    floor_minor: int | None
    ceiling_minor: int | None
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    debited_on: date | None
    debited_minor: int
    debit_blocked: bool
    credit_blocked: bool
    closed: bool
    version: int

    @classmethod
    def of(cls, account: Account) -> "AccountView":
        terms = account.terms
        return cls(
            number=account.number,
            kind=account.kind,
            currency=account.currency,
            balance_minor=account.balance_minor,
            postings=account.postings,
            floor_minor=terms.floor_minor,
            ceiling_minor=terms.ceiling_minor,
            limit_per_transaction_minor=terms.limit_per_transaction_minor,
            limit_per_day_minor=terms.limit_per_day_minor,
            debited_on=account.debited_on,
            debited_minor=account.debited_minor,
            debit_blocked=terms.debit_blocked,
            credit_blocked=terms.credit_blocked,
            closed=terms.closed,
            version=terms.version,
        )


class BalanceView(msgspec.Struct, kw_only=True):
    """What the postings with a value date up to `value_on` add up to."""

    number: str
    currency: Currency
    value_on: date
    balance_minor: int


@published_as("cbs.ledger.api.views.PostingView")
class PostingView(msgspec.Struct, kw_only=True):
    seq: int
    transaction_id: UUID
    kind: str
    amount_minor: int
    balance_after_minor: int
    currency: Currency
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str

    @classmethod
    def of(cls, posting: Posting) -> "PostingView":
        return cls(
            seq=posting.seq,
            transaction_id=posting.transaction_id,
            kind=posting.kind,
            amount_minor=posting.amount_minor,
            balance_after_minor=posting.balance_after_minor,
            currency=posting.currency,
            booked_on=posting.booked_on,
            value_on=posting.value_on,
            booked_at=posting.booked_at,
            narrative=posting.narrative,
        )
