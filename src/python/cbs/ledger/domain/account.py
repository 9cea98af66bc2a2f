"""An account in the book: what it holds, and the terms on which that may change.

Signs: a positive leg credits. A customer's balance is what the bank owes them; an asset's, such
as cash, is negative.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar

from cbs.kernel.event import Event
from cbs.kernel.money import BALANCE_MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Refusal, RefusalKind


class AccountKind(StrEnum):
    CUSTOMER = "customer"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What may happen on an account. Amounts are minor units; None is without limit, but for
    BALANCE_MINOR_UNITS_MAX, which no balance passes either way.

    Whoever owns the account raises `version` by one with each change, so that an old change
    that arrives late does nothing.
    """

    floor_minor: int | None = 0
    ceiling_minor: int | None = None
    limit_per_transaction_minor: int | None = None
    limit_per_day_minor: int | None = None
    debit_blocked: bool = False
    credit_blocked: bool = False
    closed: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`postings` counts them; `debited_minor` is what counts to the limit of `debited_on`."""

    number: str
    kind: AccountKind
    currency: Currency
    terms: Terms
    balance_minor: int = 0
    postings: int = 0
    debited_on: date | None = None
    debited_minor: int = 0

    def debited_minor_on(self, day: date) -> int:
        """A clock that goes back gives nobody a second limit: the later day counts on."""
        return self.debited_minor if self.debited_on and self.debited_on >= day else 0

    def check(self, amount_minor: int, *, limited: bool, on: date) -> None:
        """Raises the refusal of posting this much; a debit is negative."""
        if self.terms.closed:
            raise AccountClosed
        if amount_minor < 0:
            self._check_debit(-amount_minor, limited=limited, on=on)
        elif self.terms.credit_blocked:
            raise AccountBlocked
        else:
            ceiling = self.terms.ceiling_minor
            most = BALANCE_MINOR_UNITS_MAX if ceiling is None else ceiling
            if self.balance_minor + amount_minor > most:
                raise CeilingPassed

    def _check_debit(self, minor: int, *, limited: bool, on: date) -> None:
        terms = self.terms
        if terms.debit_blocked:
            raise AccountBlocked
        if limited and self.kind is AccountKind.CUSTOMER:
            per_transaction, per_day = terms.limit_per_transaction_minor, terms.limit_per_day_minor
            if per_transaction is not None and minor > per_transaction:
                raise LimitPerTransaction
            if per_day is not None and self.debited_minor_on(on) + minor > per_day:
                raise LimitPerDay
        floor = terms.floor_minor
        least = -BALANCE_MINOR_UNITS_MAX if floor is None else floor
        if self.balance_minor - minor < least:
            raise InsufficientFunds

    def posted(self, amount_minor: int, *, limited: bool, on: date) -> "Account":
        counted = -amount_minor if limited and amount_minor < 0 else 0
        return Account(
            number=self.number,
            kind=self.kind,
            currency=self.currency,
            terms=self.terms,
            balance_minor=self.balance_minor + amount_minor,
            postings=self.postings + 1,
            debited_on=max(on, self.debited_on or on),
            debited_minor=self.debited_minor_on(on) + counted,
        )

    def change_terms(self, terms: Terms) -> "tuple[Account, AccountSet] | None":
        """The account on these terms; None if it knows these or later ones already."""
        if terms.version <= self.terms.version:
            return None
        if terms.closed and self.balance_minor != 0:
            raise AccountNotEmpty
        if terms.floor_minor is not None and self.balance_minor < terms.floor_minor:
            raise FloorAboveBalance
        if terms.ceiling_minor is not None and self.balance_minor > terms.ceiling_minor:
            raise CeilingBelowBalance
        changed = Account(
            number=self.number,
            kind=self.kind,
            currency=self.currency,
            terms=terms,
            balance_minor=self.balance_minor,
            postings=self.postings,
            debited_on=self.debited_on,
            debited_minor=self.debited_minor,
        )
        return changed, changed.to_event()

    def check_same(self, *, kind: AccountKind, currency: Currency, terms: Terms) -> None:
        """Opened again, an account must be wanted as it is; raises NumberTaken."""
        if (self.kind, self.currency, self.terms) != (kind, currency, terms):
            raise NumberTaken

    @classmethod
    def open(
        cls, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> "tuple[Account, AccountSet]":
        """A new account is empty, so a floor above nothing is refused, and a ceiling below it."""
        if terms.floor_minor is not None and terms.floor_minor > 0:
            raise FloorAboveBalance
        if terms.ceiling_minor is not None and terms.ceiling_minor < 0:
            raise CeilingBelowBalance
        account = cls(number=number, kind=kind, currency=currency, terms=terms)
        return account, account.to_event()

    def to_event(self) -> "AccountSet":
        return AccountSet(
            account=self.number,
            kind=self.kind.value,
            currency=self.currency.value,
            floor_minor=self.terms.floor_minor,
            ceiling_minor=self.terms.ceiling_minor,
            limit_per_transaction_minor=self.terms.limit_per_transaction_minor,
            limit_per_day_minor=self.terms.limit_per_day_minor,
            debit_blocked=self.terms.debit_blocked,
            credit_blocked=self.terms.credit_blocked,
            closed=self.terms.closed,
            version=self.terms.version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSet(Event):
    """An account was opened in the book, or its terms were changed."""

    fact = "account-set"

    about: ClassVar[str] = "account"

    account: str
    kind: str
    currency: str
    floor_minor: int | None
    ceiling_minor: int | None
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    debit_blocked: bool
    credit_blocked: bool
    closed: bool
    version: int


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


class AccountNotEmpty(Refusal):
    """An account is closed at a balance of zero."""

    code = "account-not-empty"


class FloorAboveBalance(Refusal):
    """The balance is below the floor that was asked for."""

    code = "floor-above-balance"


class CeilingBelowBalance(Refusal):
    """The balance is above the ceiling that was asked for."""

    code = "ceiling-below-balance"


class NumberTaken(Refusal):
    """An account of this number is open, of another kind or currency or on other terms."""

    code = "number-taken"


# A transaction is refused in this order, whichever of its legs deserves it: what an account is
# before what it agreed to, and last what tells of a balance.
POSTING_REFUSALS: tuple[type[Refusal], ...] = (
    AccountClosed,
    AccountBlocked,
    LimitPerTransaction,
    LimitPerDay,
    InsufficientFunds,
    CeilingPassed,
)
