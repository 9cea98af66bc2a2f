"""Every change is made by a principal, whose signed token says what they may do."""

from dataclasses import dataclass
from enum import StrEnum

from cbs.kernel.refusal import NotPermitted


class Kind(StrEnum):
    USER = "user"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `id` is stable and unique; permissions are `<service>.<verb>`."""

    id: str
    kind: Kind
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def must(self, permission: str) -> None:
        if not self.may(permission):
            raise NotPermitted(f"needs the permission {permission}")
