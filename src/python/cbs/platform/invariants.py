"""An invariant is found broken by the rows that break it; no rows, and it holds.

Those of a service stand in its `invariants.py` or `invariants/checks.py`, as CHECKS; `cbs verify`
makes them on the live data. What holds for every service is checked there for all of them.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from cbs.kernel.merkle import Tree

BATCH_ROWS = 500

Row = Mapping[str, Any]


class CannotSay(RuntimeError):
    """A check could not be made; the message says why and what to do."""


class SnapshotReader(Protocol):
    """The databases of services, each as of one moment.

    The snapshot of a service that hears another is of later than the other's, and of when it has
    heard all that the other's holds: the fence.
    """

    @property
    def services(self) -> Collection[str]: ...

    def __getitem__(self, service: str) -> Any:
        """The connection (of asyncpg) that sees the snapshot."""

    def rows(self, service: str, query: str, *values: Any) -> AsyncIterator[Row]:
        """The rows of the snapshot, BATCH_ROWS of them in memory at once."""

    def batches(self, service: str, query: str, *values: Any) -> AsyncIterator[list[Row]]: ...

    def verified(self, service: str) -> int:
        """The position up to which its facts were verified before; 0: check all of them."""

    @property
    def verified_tree(self) -> Tree:
        """Over the entries of the audit log that were verified before."""

    def must_have_heard(self, service: str, source: str) -> int:
        """The fence: the last position that both snapshots cover; raises CannotSay."""

    async def now(self, service: str, query: str, *values: Any) -> list[Row]:
        """What the database says at this moment: later than every snapshot."""


Find = Callable[[SnapshotReader], AsyncIterator[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`promise` is what holds; `find` gives the rows that break it, and may raise CannotSay.

    `reads` names the other services whose databases it reads. A service reads those that it hears,
    and those that it tells: what it does not hear is read after the service itself.
    """

    service: str
    name: str
    promise: str
    find: Find
    reads: tuple[str, ...] = ()


def query(service: str, name: str, promise: str, sql: str, *values: Any) -> Check:
    """A check that is one question to one database."""
    return Check(
        service=service,
        name=name,
        promise=promise,
        find=lambda snapshots: snapshots.rows(service, sql, *values),
    )


def module_of(service: str) -> ModuleType:
    """Where the checks of a service stand."""
    module = import_module(f"cbs.{service}.invariants")
    return import_module(f"{module.__name__}.checks") if hasattr(module, "__path__") else module


def checks_of(service: str) -> tuple[Check, ...]:
    """What stands in `cbs/<service>/invariants.py`."""
    checks: tuple[Check, ...] = module_of(service).CHECKS
    assert all(check.service == service for check in checks), service
    return checks


async def aligned(
    left: AsyncIterator[Row], right: AsyncIterator[Row], key: Callable[[Row], Any]
) -> AsyncIterator[tuple[Row | None, Row | None]]:
    """Pairs of rows with equal keys; a row without its like comes alone. Both come in order."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and key(one) < key(other)):
            yield one, None
            one = await anext(left, None)
        elif one is None or key(other) < key(one):
            yield None, other
            other = await anext(right, None)
        else:
            yield one, other
            one, other = await anext(left, None), await anext(right, None)
