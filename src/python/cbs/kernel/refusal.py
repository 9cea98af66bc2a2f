"""A refusal is the bank saying no for a reason the caller can act on."""

from enum import StrEnum
from typing import ClassVar


class RefusalKind(StrEnum):
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    NOT_ALLOWED = "not-allowed"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class Refusal(Exception):
    """Expected and tested; anything else that escapes a use case is a bug.

    The class's docstring is what the caller reads, `code` the stable end of the problem's `type`,
    which stays when the class is renamed; `detail` says more about this one case and must hold
    nothing confidential.
    """

    kind: ClassVar[RefusalKind] = RefusalKind.CONFLICT
    code: ClassVar[str] = "refused"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def __init_subclass__(cls) -> None:
        assert "code" in vars(cls), f"{cls.__name__} does not say its code"

    @property
    def lasting(self) -> bool:
        """Whether asking again with the same key must give the same answer.

        A business no is an answer and is kept; a malformed or unauthorised request, an
        overload or an outage never is.
        """
        return self.kind in (RefusalKind.NOT_FOUND, RefusalKind.CONFLICT)


class Malformed(Refusal):
    """The request cannot be understood as it stands; correct it and ask again."""

    code = "malformed"
    kind = RefusalKind.MALFORMED


class NotSignedIn(Refusal):
    """This needs a valid bearer token."""

    code = "not-signed-in"
    kind = RefusalKind.UNAUTHENTICATED


class NotPermitted(Refusal):
    """The token does not carry the permission that this needs."""

    code = "not-permitted"
    kind = RefusalKind.NOT_ALLOWED


class KeyReused(Refusal):
    """The same idempotency key came before with a different request."""

    code = "key-reused"


class Busy(Refusal):
    """The service has more work than it takes on at once; ask again later with the same key."""

    code = "busy"
    kind = RefusalKind.BUSY


class Unavailable(Refusal):
    """The outcome is not known or a part of the bank cannot be reached; ask again with the same
    key, or ask what became of it."""

    code = "unavailable"
    kind = RefusalKind.UNAVAILABLE
