"""An account is what the bank agreed with a customer; the balance is the ledger's alone.

A change is made here first and then told to the ledger, under a version that only grows. Most
changes go side by side, since what is told are always all the terms. One to which the ledger may
say no (opening, closing, a smaller overdraft) awaits it: nothing else is changed until it has
spoken.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cbs.accounts.domain.freeze import (
    FREEZES_MAX,
    Cause,
    Freeze,
    FrozenWithCustomer,
    NoSuchFreeze,
    NotFrozen,
    Scope,
    SeveralFreezes,
    TooManyFreezes,
    strictest,
)
from cbs.accounts.domain.product import Product, ProductWithdrawn
from cbs.kernel.account_number import AccountNumber
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Refusal, RefusalKind
from cbs.kernel.saga import SagaUnderWay


class State(StrEnum):
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Minor units; None is without limit. The account may fall to minus `overdraft_minor`.
    `frozen` is what the strictest freeze stops."""

    overdraft_minor: int = 0
    limit_per_transaction_minor: int | None = None
    limit_per_day_minor: int | None = None
    frozen: Scope | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`acknowledged` is the highest version that the ledger is known to hold; `awaiting_ledger`: it
    may still refuse the newest."""

    id: UUID
    number: AccountNumber
    branch: int
    customer_id: UUID
    product: str
    currency: Currency
    terms: Terms
    state: State = State.OPENING
    version: int = 1
    acknowledged: int = 0
    awaiting_ledger: bool = True
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    freezes: tuple[Freeze, ...] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.acknowledged <= self.version, (self.acknowledged, self.version)

    @classmethod
    def opening(
        cls,
        *,
        id: UUID,
        number: AccountNumber,
        branch: int,
        customer_id: UUID,
        product: Product,
        overdraft_minor: int | None,
    ) -> "Account":
        if not product.active:
            raise ProductWithdrawn
        return cls(
            id=id,
            number=number,
            branch=branch,
            customer_id=customer_id,
            product=product.code,
            currency=product.currency,
            terms=Terms(
                overdraft_minor=product.overdraft(overdraft_minor),
                limit_per_transaction_minor=product.limit_per_transaction_minor,
                limit_per_day_minor=product.limit_per_day_minor,
            ),
        )

    @property
    def settled(self) -> bool:
        """The ledger holds all that stands here."""
        return self.acknowledged == self.version

    def freeze(self, freeze: Freeze) -> "Account":
        self._must_be_open()
        if freeze.cause is Cause.SUSPENSION:
            if self.suspension is not None:
                raise AlreadySuspended
        elif len(self.freezes) >= FREEZES_MAX:
            raise TooManyFreezes
        return self._frozen((*self.freezes, freeze))

    def unfreeze(self, freeze_id: UUID | None, *, because: str, by: str, at: datetime) -> "Account":
        """Lift the freeze of this id, or the only one; a suspension ends with the customer's."""
        self._must_be_open()
        return self._lifted(self._to_lift(freeze_id), because=because, by=by, at=at)

    def end_suspension(self, *, because: str, by: str, at: datetime) -> "Account":
        self._must_be_open()
        if self.suspension is None:
            raise NotFrozen
        return self._lifted(self.suspension, because=because, by=by, at=at)

    @property
    def suspension(self) -> Freeze | None:
        return next((each for each in self.freezes if each.cause is Cause.SUSPENSION), None)

    def _to_lift(self, freeze_id: UUID | None) -> Freeze:
        orders = [each for each in self.freezes if each.cause is Cause.ORDER]
        if freeze_id is None:
            if len(orders) > 1:
                raise SeveralFreezes
            if orders:
                return orders[0]
            if self.freezes:
                raise FrozenWithCustomer
            # What is lifted but holds in the ledger still must not be said to be lifted.
            raise NotFrozen if self.settled else ChangeUnderWay
        found = next((each for each in self.freezes if each.id == freeze_id), None)
        if found is None:
            raise NoSuchFreeze
        if found.cause is Cause.SUSPENSION:
            raise FrozenWithCustomer
        return found

    def _lifted(self, freeze: Freeze, *, because: str, by: str, at: datetime) -> "Account":
        lifted = replace(freeze, lifted_by=by, lifted_at=at, lifted_because=because)
        return self._frozen(tuple(lifted if each is freeze else each for each in self.freezes))

    def _frozen(self, freezes: tuple[Freeze, ...]) -> "Account":
        """What was lifted stays here until it is kept."""
        terms = replace(self.terms, frozen=strictest(freezes))
        return replace(self._on(terms), freezes=freezes)

    def limit(
        self, *, per_transaction_minor: int | None, per_day_minor: int | None, overdraft_minor: int
    ) -> "Account":
        """Awaits the ledger if the floor rises: the balance may be below it."""
        self._must_be_open()
        awaiting_ledger = overdraft_minor < self.terms.overdraft_minor
        if awaiting_ledger and not self.settled:
            raise ChangeUnderWay
        terms = replace(
            self.terms,
            overdraft_minor=overdraft_minor,
            limit_per_transaction_minor=per_transaction_minor,
            limit_per_day_minor=per_day_minor,
        )
        return replace(self._on(terms), awaiting_ledger=awaiting_ledger)

    def close(self) -> "Account":
        self._must_be_open()
        if not self.settled:
            raise ChangeUnderWay
        if any(each.cause is Cause.ORDER for each in self.freezes):
            raise AccountIsFrozen
        return replace(self._on(self.terms), state=State.CLOSING, awaiting_ledger=True)

    def reverted_to(self, former: Terms) -> "Account":
        """On the former terms again, after the ledger refused a change.

        Under a new version: the refused one may still be on its way to the ledger.
        """
        assert self.awaiting_ledger and self.state in (State.OPEN, State.CLOSING), self
        return replace(self._on(former), state=State.OPEN)

    def _on(self, terms: Terms) -> "Account":
        return replace(self, terms=terms, version=self.version + 1)

    def refused(self) -> "Account":
        """Never opened; its number is not used again."""
        assert self.state is State.OPENING, self.state
        return replace(self, state=State.REFUSED, awaiting_ledger=False)

    def acknowledged_at(self, version: int, *, at: datetime) -> "Account":
        """The ledger holds this version, and what waited for that has come about."""
        acknowledged = replace(self, acknowledged=max(self.acknowledged, version))
        if not acknowledged.settled:
            return acknowledged
        if acknowledged.state is State.OPENING:
            return replace(acknowledged, state=State.OPEN, awaiting_ledger=False, opened_at=at)
        if acknowledged.state is State.CLOSING:
            return replace(acknowledged, state=State.CLOSED, awaiting_ledger=False, closed_at=at)
        return replace(acknowledged, awaiting_ledger=False)

    def _must_be_open(self) -> None:
        if self.state in (State.CLOSED, State.REFUSED):
            raise AccountNotOpen
        if self.awaiting_ledger:
            raise ChangeUnderWay


class NoSuchAccount(Refusal):
    """No account has this id or number."""

    code = "no-such-account"
    kind = RefusalKind.NOT_FOUND


class AccountNotOpen(Refusal):
    """The account is closed, or was never opened; nothing about it changes any more."""

    code = "account-not-open"


class AccountIsFrozen(Refusal):
    """A frozen account is unfrozen before it is closed; its customer's suspension is no bar."""

    code = "account-frozen"


class AlreadySuspended(Refusal):
    """The account is frozen with its customer already."""

    code = "already-suspended"


class ChangeUnderWay(SagaUnderWay):
    """Another change of the account must be finished first; ask again with the same key."""

    code = "change-under-way"


class AccountNotEmpty(Refusal):
    """An account is closed at a balance of zero."""

    code = "account-not-empty"


class FloorAboveBalance(Refusal):
    """The account is overdrawn by more than the overdraft that was asked for."""

    code = "floor-above-balance"


class NoSuchCustomer(Refusal):
    """No customer has this id."""

    code = "no-such-customer"
    kind = RefusalKind.NOT_FOUND


class CustomerNotVerified(Refusal):
    """An account is opened for a customer whose documents were verified."""

    code = "customer-not-verified"


class CustomerNotActive(Refusal):
    """The customer is suspended, or is none any more."""

    code = "customer-not-active"
