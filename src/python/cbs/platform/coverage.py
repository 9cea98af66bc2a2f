"""Every column of a service is seen by a check, or it is said why none sees it.

Those of a service stand beside its CHECKS, as COVERAGE. tests/verify/test_coverage.py compares them
with the migrated tables, edits each column that is said to be seen, and asks the check.
"""

from dataclasses import dataclass

from cbs.platform.invariants import module_of

EVERY_ROW = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """`by` names checks, `<service>/<check>` those of another service: one of them sees an edit.
    Without one there is `because`. `where` says in SQL of which rows this is so."""

    table: str
    columns: tuple[str, ...]
    where: str = EVERY_ROW
    by: tuple[str, ...] = ()
    because: str = ""

    def __post_init__(self) -> None:
        assert bool(self.by) != bool(self.because), self


def seen(table: str, columns: str, *, by: str, where: str = EVERY_ROW) -> Columns:
    """Whoever edits one of these columns is found by this check, or one of these."""
    return Columns(table=table, columns=tuple(columns.split()), by=tuple(by.split()), where=where)


def unseen(table: str, columns: str, *, because: str, where: str = EVERY_ROW) -> Columns:
    """No check sees an edit of these."""
    return Columns(table=table, columns=tuple(columns.split()), because=because, where=where)


def coverage_of(service: str) -> tuple[Columns, ...]:
    """What stands beside the CHECKS of a service."""
    coverage: tuple[Columns, ...] = module_of(service).COVERAGE
    return coverage
