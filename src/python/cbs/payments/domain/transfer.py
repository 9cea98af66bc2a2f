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
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Malformed, Refusal, RefusalKind


class Kind(StrEnum):
    """The kinds of the ledger's transactions that are payments."""

    TRANSFER = "transfer"
    CASH_DEPOSIT = "cash-deposit"
    CASH_WITHDRAWAL = "cash-withdrawal"


@published_as("cbs.payments.api.http.TransferView")
@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A payment as it was posted. Of a cash payment one account is the bank's own till."""

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


def check_amount(amount_minor: int) -> None:
    if not 0 < amount_minor <= MINOR_UNITS_MAX:
        raise Malformed("amount_minor: out of range")


def check_customers(*, remitter_account: str, beneficiary_account: str) -> None:
    """Raises the refusal of a transfer between these two."""
    check_customer(remitter_account, "remitter_account")
    check_customer(beneficiary_account, "beneficiary_account")
    if remitter_account == beneficiary_account:
        raise AccountsNotDistinct


def check_customer(account: str, field: str = "account") -> None:
    if not is_account_number(account):
        raise Malformed(f"{field}: not an account number of this bank")


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
