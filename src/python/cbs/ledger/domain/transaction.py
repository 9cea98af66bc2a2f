"""A transaction posts two or more legs that sum to zero, or does not happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, Protocol
from uuid import UUID

from cbs.kernel.calendar import EARLIEST_BUSINESS_DATE, business_date
from cbs.kernel.event import Event, Origin
from cbs.kernel.money import Currency
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Malformed, NotPermitted, Refusal, RefusalKind
from cbs.ledger.domain.account import POSTING_REFUSALS, Account, NoSuchAccount

LEGS_MIN, LEGS_MAX = 2, 20
BACKDATED_DAYS_MAX = 366
TRANSFER, CASH_DEPOSIT, CASH_WITHDRAWAL = "transfer", "cash-deposit", "cash-withdrawal"
LIMITED = frozenset({TRANSFER, CASH_WITHDRAWAL})


class Leg(Protocol):
    """A positive amount credits the account, a negative one debits it."""

    account: str
    amount_minor: int


class Wanted(Protocol):
    """A transaction as it arrives; `value_on` None is the booking date."""

    kind: str
    currency: Currency
    value_on: date | None
    narrative: str

    @property
    def legs(self) -> Sequence[Leg]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one caller wants posted, under which key, and on whose authority.

    Only those who `may_backdate` name a value date before the booking date, of BACKDATED_DAYS_MAX
    at most; those who `may_import` bring in an older book.
    """

    principal: str
    key: str
    fingerprint: bytes
    wanted: Wanted
    may_backdate: bool
    may_import: bool = False
    origin: Origin

    def __post_init__(self) -> None:
        legs = self.wanted.legs
        if not LEGS_MIN <= len(legs) <= LEGS_MAX:
            raise Malformed(f"a transaction has {LEGS_MIN} to {LEGS_MAX} legs")
        if not all(leg.amount_minor for leg in legs):
            raise EmptyLeg
        if sum(leg.amount_minor for leg in legs) != 0:
            raise NotBalanced
        if len({leg.account for leg in legs}) < len(legs):
            raise AccountsNotDistinct


@published_as("LegView")
@dataclass(frozen=True, slots=True, kw_only=True)
class PostedLeg:
    """`seq` numbers the postings of an account from 1, without a gap."""

    account: str
    amount_minor: int
    balance_after_minor: int
    seq: int


@published_as("TransactionView")
@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    id: UUID
    kind: str
    currency: Currency
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str
    actor: str
    legs: Sequence[PostedLeg]

    @property
    def limited(self) -> bool:
        return self.kind in LIMITED

    def to_event(self, *, key: str) -> "TransactionPosted":
        return TransactionPosted(
            transaction_id=self.id,
            kind=self.kind,
            currency=self.currency.value,
            booked_on=self.booked_on,
            value_on=self.value_on,
            booked_at=self.booked_at,
            narrative=self.narrative,
            legs=self.legs,
            key=key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionPosted(Event):
    """Money moved between accounts of the book; `key` is that of the request for it."""

    fact = "transaction-posted"

    about: ClassVar[str] = "transaction_id"

    transaction_id: UUID
    kind: str
    currency: str
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str
    legs: Sequence[PostedLeg]
    key: str


def decide(
    order: Order, accounts: Mapping[str, Account], *, id: UUID, at: datetime
) -> tuple[Transaction, dict[str, Account]]:
    """The transaction and the accounts as it leaves them; raises the refusal."""
    wanted = order.wanted
    booked_on = business_date(at)
    value_on = wanted.value_on or booked_on
    if value_on > booked_on:
        raise ValueDateInFuture
    _check_permitted((booked_on - value_on).days, order)
    if value_on < EARLIEST_BUSINESS_DATE:
        raise ValueDateTooEarly(f"{EARLIEST_BUSINESS_DATE} is the earliest")
    limited = wanted.kind in LIMITED
    found = [accounts.get(leg.account) for leg in wanted.legs]
    # First: of cash in a currency that no till is kept in, the customer's account tells more.
    for account in found:
        if account is not None and account.currency is not wanted.currency:
            raise CurrencyMismatch(f"{account.number} is kept in {account.currency}")
    touched = []
    for leg, account in zip(wanted.legs, found, strict=True):
        if account is None:
            raise NoSuchAccount(leg.account)
        touched.append(account)
    _check(touched, wanted.legs, limited=limited, on=booked_on)
    after = {
        leg.account: account.posted(leg.amount_minor, limited=limited, on=booked_on)
        for account, leg in zip(touched, wanted.legs, strict=True)
    }
    transaction = Transaction(
        id=id,
        kind=wanted.kind,
        currency=wanted.currency,
        booked_on=booked_on,
        value_on=value_on,
        booked_at=at,
        narrative=wanted.narrative,
        actor=order.origin.on_behalf_of or order.origin.actor,
        legs=[
            PostedLeg(
                account=leg.account,
                amount_minor=leg.amount_minor,
                balance_after_minor=after[leg.account].balance_minor,
                seq=after[leg.account].postings,
            )
            for leg in wanted.legs
        ],
    )
    return transaction, after


def _check_permitted(days: int, order: Order) -> None:
    """Of a value date so many days before the booking date."""
    if days > 0 and not (order.may_backdate or order.may_import):
        raise NotPermitted("a value date in the past needs the permission ledger.backdate")
    if days > BACKDATED_DAYS_MAX and not order.may_import:
        raise NotPermitted(
            f"a value date of more than {BACKDATED_DAYS_MAX} days ago needs ledger.import"
        )


def _check(accounts: Sequence[Account], legs: Sequence[Leg], *, limited: bool, on: date) -> None:
    """Raises the first refusal in the order of refusals, not of legs."""
    refused = []
    for account, leg in zip(accounts, legs, strict=True):
        try:
            account.check(leg.amount_minor, limited=limited, on=on)
        except Refusal as refusal:
            refused.append(refusal)
    if refused:
        raise min(refused, key=lambda refusal: POSTING_REFUSALS.index(type(refusal)))


class EmptyLeg(Refusal):
    """A leg moves at least one minor unit."""

    code = "empty-leg"


class NotBalanced(Refusal):
    """The legs of a transaction sum to zero."""

    code = "not-balanced"


class AccountsNotDistinct(Refusal):
    """Each leg of a transaction is on an account of its own."""

    code = "accounts-not-distinct"


class CurrencyMismatch(Refusal):
    """The account is kept in another currency."""

    code = "currency-mismatch"


class ValueDateTooEarly(Refusal):
    """No book begins so early."""

    code = "value-date-too-early"


class ValueDateInFuture(Refusal):
    """A value date is never after the booking date."""

    code = "value-date-in-future"


class NoSuchTransaction(Refusal):
    """The book has no transaction of this id."""

    code = "no-such-transaction"
    kind = RefusalKind.NOT_FOUND
