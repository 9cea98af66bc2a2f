"""A payment inside the bank takes from one account what it gives to another; the till is one, too.

The refusals after the first are the ledger's: it alone decides what must not race. They stand here
because callers of this service read them, and bear the codes under which the ledger sends them.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from cbs.kernel.account_number import is_account_number
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Malformed, Refusal, RefusalKind


class Kind(StrEnum):
    """The kinds of the ledger's transactions that are payments."""

    TRANSFER = "transfer"
    CASH_DEPOSIT = "cash-deposit"
    CASH_WITHDRAWAL = "cash-withdrawal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A payment that somebody wants; its form is right, all else the ledger decides."""

    kind: Kind
    remitter_account: str
    beneficiary_account: str
    amount_minor: int
    currency: Currency
    narrative: str

    def __post_init__(self) -> None:
        if not 0 < self.amount_minor <= MINOR_UNITS_MAX:
            raise Malformed("amount_minor: out of range")
        if self.remitter_account == self.beneficiary_account:
            raise AccountsNotDistinct

    @classmethod
    def transfer(
        cls, *, remitter: str, beneficiary: str, amount_minor: int, currency: Currency, text: str
    ) -> "Order":
        return cls(
            kind=Kind.TRANSFER,
            remitter_account=_customers(remitter, "remitter_account"),
            beneficiary_account=_customers(beneficiary, "beneficiary_account"),
            amount_minor=amount_minor,
            currency=currency,
            narrative=text,
        )

    @classmethod
    def cash_deposit(
        cls, *, account: str, amount_minor: int, currency: Currency, text: str
    ) -> "Order":
        return cls(
            kind=Kind.CASH_DEPOSIT,
            remitter_account=till(currency),
            beneficiary_account=_customers(account, "account"),
            amount_minor=amount_minor,
            currency=currency,
            narrative=text,
        )

    @classmethod
    def cash_withdrawal(
        cls, *, account: str, amount_minor: int, currency: Currency, text: str
    ) -> "Order":
        return cls(
            kind=Kind.CASH_WITHDRAWAL,
            remitter_account=_customers(account, "account"),
            beneficiary_account=till(currency),
            amount_minor=amount_minor,
            currency=currency,
            narrative=text,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A payment that the ledger has posted; `id` is the transaction's."""

    id: UUID
    kind: Kind
    remitter_account: str
    beneficiary_account: str
    amount_minor: int
    currency: Currency
    narrative: str
    booked_on: date
    value_on: date
    booked_at: datetime


def till(currency: Currency) -> str:
    """The bank's own account of the cash in its branches."""
    return f"{currency}-CASH"


def _customers(account: str, field: str) -> str:
    if not is_account_number(account):
        raise Malformed(f"{field}: not an account number of this bank")
    return account


class NoSuchTransfer(Refusal):
    """No payment has this id."""

    code = "no-such-transfer"
    kind = RefusalKind.NOT_FOUND


class AccountsNotDistinct(Refusal):
    """Each leg of a transaction is on an account of its own."""

    code = "accounts-not-distinct"


class NoSuchAccount(Refusal):
    """The book has no account of this number."""

    code = "no-such-account"
    kind = RefusalKind.NOT_FOUND


class AccountClosed(Refusal):
    """The account is closed; nothing can be posted to it."""

    code = "account-closed"


class AccountBlocked(Refusal):
    """The account is blocked for this kind of posting."""

    code = "account-blocked"


class CurrencyMismatch(Refusal):
    """The account is kept in another currency."""

    code = "currency-mismatch"


class LimitPerTransaction(Refusal):
    """More than this account may pay in one transaction."""

    code = "limit-per-transaction"


class LimitPerDay(Refusal):
    """More than this account may still pay on this business date."""

    code = "limit-per-day"


class InsufficientFunds(Refusal):
    """The account does not hold enough for this."""

    code = "insufficient-funds"


class CeilingPassed(Refusal):
    """The account may not hold that much."""

    code = "ceiling-passed"
