"""A change puts an account on other terms, under its next version; undone, the former terms come
back under a newer one still."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from cbs.accounts.domain.account import Account, Terms
from cbs.accounts.domain.facts import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    LimitsChanged,
)
from cbs.accounts.domain.freeze import Freeze
from cbs.kernel.event import Event


class Kind(StrEnum):
    OPEN = "open"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    LIMITS = "limits"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`version` is the account's with this change in it, `terms` are those after it and `former`
    those before; `freeze` is the one that is placed or lifted. A release that had one freeze an
    account names none."""

    account_id: UUID
    kind: Kind
    version: int
    terms: Terms
    former: Terms
    reason: str = ""
    freeze: Freeze | None = None

    def to_event(self, account: Account) -> Event:
        """What has come about when the ledger holds this version."""
        id, number, version, terms = account.id, account.number, self.version, self.terms
        match self.kind:
            case Kind.OPEN:
                return AccountOpened(
                    account_id=id,
                    number=number,
                    customer_id=account.customer_id,
                    product=account.product,
                    currency=account.currency.value,
                    branch=account.branch,
                    **self._limits(),
                    opened_at=account.opened_at,
                    version=version,
                )
            case Kind.LIMITS:
                return LimitsChanged(
                    account_id=id,
                    number=number,
                    **self._limits(),
                    version=version,
                )
            case Kind.FREEZE:
                assert terms.frozen is not None, self
                return AccountFrozen(
                    account_id=id,
                    number=number,
                    scope=(self.freeze.scope if self.freeze else terms.frozen).value,
                    reason=self.reason,
                    version=version,
                    **self._of_freeze("authority", "placed_by", "placed_at"),
                )
            case Kind.UNFREEZE:
                return AccountUnfrozen(
                    account_id=id,
                    number=number,
                    reason=self.reason,
                    version=version,
                    **self._of_freeze("lifted_by", "lifted_at"),
                )
            case Kind.CLOSE:
                return AccountClosed(
                    account_id=id,
                    number=number,
                    reason=self.reason,
                    closed_at=account.closed_at,
                    version=version,
                )

    def _limits(self) -> dict[str, Any]:
        return {
            "overdraft_minor": self.terms.overdraft_minor,
            "limit_per_transaction_minor": self.terms.limit_per_transaction_minor,
            "limit_per_day_minor": self.terms.limit_per_day_minor,
        }

    def _of_freeze(self, *more: str) -> dict[str, Any]:
        freeze = self.freeze
        if freeze is None:
            return {}
        return {
            "freeze_id": freeze.id,
            "cause": freeze.cause.value,
            "until": freeze.until,
            "frozen": self.terms.frozen and self.terms.frozen.value,
            **{name: getattr(freeze, name) for name in more},
        }
