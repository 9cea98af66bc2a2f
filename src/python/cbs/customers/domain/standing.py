"""The life of a customer: what may be done with them in which state, as one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from uuid import UUID

from cbs.kernel.refusal import Refusal
from cbs.kernel.saga import SagaUnderWay


class CustomerStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Act(Enum):
    AMEND = auto()
    PRESENT_DOCUMENT = auto()
    VERIFY = auto()
    REJECT = auto()
    RATE = auto()
    FIND_DISTINCT = auto()
    SUSPEND = auto()
    REINSTATE = auto()
    CLOSE = auto()


_ACTIVE, _SUSPENDED = frozenset({CustomerStatus.ACTIVE}), frozenset({CustomerStatus.SUSPENDED})

# What a suspension means for their accounts stands in accounts, which are told.
ALLOWED: Mapping[Act, frozenset[CustomerStatus]] = {
    Act.AMEND: _ACTIVE | _SUSPENDED,
    Act.PRESENT_DOCUMENT: _ACTIVE | _SUSPENDED,
    Act.VERIFY: _ACTIVE | _SUSPENDED,
    Act.REJECT: _ACTIVE | _SUSPENDED,
    Act.RATE: _ACTIVE | _SUSPENDED,
    Act.FIND_DISTINCT: _ACTIVE | _SUSPENDED,
    Act.SUSPEND: _ACTIVE,
    Act.REINSTATE: _SUSPENDED,
    Act.CLOSE: _SUSPENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingChange:
    """`version` is the customer's with this change in it."""

    customer_id: UUID
    version: int
    status: CustomerStatus
    reason: str


class CustomerIsClosed(Refusal):
    """The bank and this customer have parted; nothing about them changes any more."""

    code = "customer-is-closed"


class CustomerNotActive(Refusal):
    """Only an active customer can be suspended."""

    code = "customer-not-active"


class CustomerNotSuspended(Refusal):
    """Only a suspended customer can be reinstated or closed."""

    code = "customer-not-suspended"


class StandingUnderWay(SagaUnderWay):
    """The standing is being changed; ask again with the same key."""

    code = "standing-under-way"


class CustomerHasAccounts(Refusal):
    """A customer whose accounts are not all closed is not closed either."""

    code = "customer-has-accounts"


def must_allow(status: CustomerStatus, act: Act) -> None:
    """Raises what is in the way."""
    allowed = ALLOWED[act]
    if status in allowed:
        return
    if status is CustomerStatus.CLOSED:
        raise CustomerIsClosed
    raise CustomerNotActive if allowed == _ACTIVE else CustomerNotSuspended
