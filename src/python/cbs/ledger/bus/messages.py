"""How the book looks from outside."""

from datetime import date

import msgspec

from cbs.kernel.money import Currency
from cbs.kernel.published import published_as
from cbs.ledger.domain.account import Account, AccountKind


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
