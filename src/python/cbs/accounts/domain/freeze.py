"""A freeze is a thing of its own: any number hold at once, the strictest counts, each is lifted by
itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from cbs.kernel.refusal import Refusal, RefusalKind

FREEZES_MAX = 20


class Scope(StrEnum):
    """What a freeze stops."""

    DEBITS = "debits"
    ALL = "all"


class Cause(StrEnum):
    """Somebody's order, or the customer's suspension, which ends with it."""

    ORDER = "order"
    SUSPENSION = "suspension"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """`authority` is on whose order, such as a court; `until` is the last day on which it holds."""

    id: UUID
    scope: Scope
    reason: str
    placed_by: str
    placed_at: datetime
    cause: Cause = Cause.ORDER
    authority: str | None = None
    until: date | None = None
    lifted_by: str | None = None
    lifted_at: datetime | None = None
    lifted_because: str | None = None

    @property
    def holds(self) -> bool:
        return self.lifted_at is None


def strictest(freezes: Iterable[Freeze]) -> Scope | None:
    scopes = {each.scope for each in freezes if each.holds}
    return Scope.ALL if Scope.ALL in scopes else Scope.DEBITS if scopes else None


class NotFrozen(Refusal):
    """The account is not frozen."""

    code = "not-frozen"


class NoSuchFreeze(Refusal):
    """No freeze of this account has this id and still holds."""

    code = "no-such-freeze"
    kind = RefusalKind.NOT_FOUND


class SeveralFreezes(Refusal):
    """More than one freeze holds: name the one to lift by its `freeze_id`."""

    code = "several-freezes"


class FrozenWithCustomer(Refusal):
    """The customer is suspended; this freeze ends when they are reinstated."""

    code = "frozen-with-customer"


class TooManyFreezes(Refusal):
    """At most 20 freezes hold an account at once."""

    code = "too-many-freezes"


class FreezeIsOver(Refusal):
    """The last day of a freeze is today or later."""

    code = "freeze-is-over"
