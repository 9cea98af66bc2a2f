"""An invariant is found broken by the rows that break it; no rows, and it holds."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from cbs.tools.ops.verify.snapshots import Row, Snapshots

Find = Callable[[Snapshots], AsyncIterator[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`promise` is what holds; `find` gives the rows that break it, and may raise CannotSay."""

    service: str
    name: str
    promise: str
    find: Find


def query(service: str, name: str, promise: str, sql: str, *values: Any) -> Check:
    """A check that is one question to one database."""
    return Check(
        service=service,
        name=name,
        promise=promise,
        find=lambda snapshots: snapshots.rows(service, sql, *values),
    )
