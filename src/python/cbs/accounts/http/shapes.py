"""What is said over HTTP: amounts are minor units of the account's currency."""

from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

import msgspec
from litestar.params import PathParameter

from cbs.accounts.application.book import Posting
from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.change import Change, Kind
from cbs.accounts.domain.freeze import Cause, Freeze, Scope
from cbs.accounts.domain.product import ProductKind
from cbs.kernel.account_number import DIGITS
from cbs.kernel.answer import Answer
from cbs.kernel.ifsc import own_ifsc
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.published import published_as
from cbs.kernel.text import LINE

AmountMinor = Annotated[int, msgspec.Meta(ge=0, le=MINOR_UNITS_MAX)]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9-]{1,30}[A-Z0-9]$(?!\n)", max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=LINE)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=LINE)]
Branch = Annotated[int, msgspec.Meta(ge=1, le=9999)]
OfNumber = Annotated[
    str,
    PathParameter(
        pattern=f"^[0-9]{{{DIGITS}}}$",
        min_length=DIGITS,
        max_length=DIGITS,
        schema_extra={"format": "account-number"},
    ),
]
Seq = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class NewProduct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A limit that is absent is none."""

    code: Code
    name: Name
    kind: ProductKind
    currency: Currency
    overdraft_min_minor: AmountMinor = 0
    overdraft_max_minor: AmountMinor = 0
    limit_per_transaction_minor: AmountMinor | None = None
    limit_per_day_minor: AmountMinor | None = None
    active: bool = True


class OpenAccount(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An overdraft that is absent is the product's least."""

    customer_id: UUID
    product: Code
    branch: Branch = 1
    overdraft_minor: AmountMinor | None = None


@published_as("Freeze")
class NewFreeze(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`authority` is on whose order; `until` is the last day on which it holds."""

    scope: Scope
    reason: Reason
    authority: Name | None = None
    until: date | None = None


class Because(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


class Unfreeze(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which freeze to lift must be named where more than one holds."""

    reason: Reason
    freeze_id: UUID | None = None


class NewLimits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A limit of null is none; an overdraft that is absent stays as it is."""

    limit_per_transaction_minor: AmountMinor | None
    limit_per_day_minor: AmountMinor | None
    overdraft_minor: AmountMinor | None = None


class FreezeView(msgspec.Struct, kw_only=True):
    """A freeze that holds. That of a suspension ends when the customer is reinstated."""

    id: UUID
    scope: Scope
    cause: Cause
    reason: str
    authority: str | None
    until: date | None
    placed_by: str
    placed_at: datetime

    @classmethod
    def of(cls, freeze: Freeze) -> Self:
        return cls(
            id=freeze.id,
            scope=freeze.scope,
            cause=freeze.cause,
            reason=freeze.reason,
            authority=freeze.authority,
            until=freeze.until,
            placed_by=freeze.placed_by,
            placed_at=freeze.placed_at,
        )


class AccountView(msgspec.Struct, kw_only=True):
    """`settled`: the ledger holds the account to all of this, and nothing is under way. `frozen` is
    what the strictest of the freezes stops; an amount has `currency_exponent` decimals."""

    id: UUID
    number: str
    ifsc: str
    branch: int
    customer_id: UUID
    product: str
    currency: Currency
    currency_exponent: int
    state: State
    frozen: Scope | None
    freezes: list[FreezeView]
    overdraft_minor: int
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    version: int
    settled: bool
    opened_at: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, account: Account) -> Self:
        terms = account.terms
        return cls(
            id=account.id,
            number=account.number,
            ifsc=own_ifsc(account.branch),
            branch=account.branch,
            customer_id=account.customer_id,
            product=account.product,
            currency=account.currency,
            currency_exponent=account.currency.exponent,
            state=account.state,
            frozen=terms.frozen,
            freezes=[FreezeView.of(each) for each in account.freezes if each.holds],
            overdraft_minor=terms.overdraft_minor,
            limit_per_transaction_minor=terms.limit_per_transaction_minor,
            limit_per_day_minor=terms.limit_per_day_minor,
            version=account.version,
            settled=account.settled and not account.awaiting_ledger,
            opened_at=account.opened_at,
            closed_at=account.closed_at,
        )


@published_as("cbs.accounts.api.shapes.AccountFound")
class AccountFound(AccountView, kw_only=True):
    """The balance is the ledger's, as of now; null while it does not know the account."""

    balance_minor: int | None = None


@published_as("cbs.accounts.api.shapes.PostingView")
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
    def of(cls, posting: Posting, currency: Currency) -> Self:
        return cls(
            seq=posting.seq,
            transaction_id=posting.transaction_id,
            kind=posting.kind,
            amount_minor=posting.amount_minor,
            balance_after_minor=posting.balance_after_minor,
            currency=currency,
            booked_on=posting.booked_on,
            value_on=posting.value_on,
            booked_at=posting.booked_at,
            narrative=posting.narrative,
        )


class FrozenView(AccountView, kw_only=True):
    """The account after a freeze was placed or lifted, and which; others may have changed since."""

    freeze_id: UUID | None = None


def answer_to_change(account: Account, change: Change) -> Answer:
    """The answer to a change that has come about."""
    view = AccountView.of(account)
    if change.kind in (Kind.FREEZE, Kind.UNFREEZE):
        view = FrozenView.of(account)
        view.freeze_id = change.freeze.id if change.freeze else None
    status = 201 if change.kind is Kind.OPEN else 200
    return Answer(status=status, body=msgspec.json.encode(view))
