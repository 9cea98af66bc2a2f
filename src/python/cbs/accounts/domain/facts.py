"""What listeners learn of an account. The highest `version` heard of an account is its newest."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from cbs.accounts.domain.product import ProductAdded
from cbs.kernel.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOpened(Event):
    """A customer has a new account, on these terms, and the book has it, too."""

    fact = "account-opened"
    about = "account_id"

    account_id: UUID
    number: str
    customer_id: UUID
    product: str
    currency: str
    branch: int
    overdraft_minor: int
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    opened_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOpeningRefused(Event):
    """An account was not opened; `because` is the code of the refusal."""

    fact = "account-opening-refused"
    about = "account_id"

    account_id: UUID
    customer_id: UUID
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFrozen(Event):
    """One more freeze holds: nothing leaves the account, and with scope `all` nothing enters it
    either. `frozen` is what all that hold stop together; an older fact names no `freeze_id`."""

    fact = "account-frozen"
    about = "account_id"

    account_id: UUID
    number: str
    scope: str
    reason: str
    version: int
    freeze_id: UUID | None = None
    cause: str | None = None
    until: date | None = None
    frozen: str | None = None
    authority: str | None = None
    placed_by: str | None = None
    placed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUnfrozen(Event):
    """A freeze was lifted; `frozen` is what those that still hold stop, if any does."""

    fact = "account-unfrozen"
    about = "account_id"

    account_id: UUID
    number: str
    reason: str
    version: int
    freeze_id: UUID | None = None
    cause: str | None = None
    until: date | None = None
    frozen: str | None = None
    lifted_by: str | None = None
    lifted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsChanged(Event):
    """The account's limits or its agreed overdraft are others now."""

    fact = "limits-changed"
    about = "account_id"

    account_id: UUID
    number: str
    overdraft_minor: int
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClosed(Event):
    """The account was closed at a balance of zero."""

    fact = "account-closed"
    about = "account_id"

    account_id: UUID
    number: str
    reason: str
    closed_at: datetime | None
    version: int


FACTS = (
    ProductAdded,
    AccountOpened,
    AccountOpeningRefused,
    AccountFrozen,
    AccountUnfrozen,
    LimitsChanged,
    AccountClosed,
)
