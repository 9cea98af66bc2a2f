"""Whose an account is: what customers says of them last, by a version that only grows."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from cbs.kernel.refusal import Refusal


class HolderStanding(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHolder:
    customer_id: UUID
    version: int
    standing: HolderStanding


class CustomerHasAccounts(Refusal):
    """A customer is closed after the last of their accounts."""

    code = "customer-has-accounts"


class StandingIsOld(Refusal):
    """Customers has said something newer of this customer."""

    code = "standing-is-old"
