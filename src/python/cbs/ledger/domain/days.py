"""Whole days of which postings are looked for, by booking or by value date."""

from dataclasses import dataclass
from datetime import date
from typing import Protocol


class Dated(Protocol):
    @property
    def booked_on(self) -> date: ...
    @property
    def value_on(self) -> date: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Both ends are included; None is without end."""

    since: date | None = None
    until: date | None = None
    by_value: bool = False

    def have(self, posting: Dated) -> bool:
        day = posting.value_on if self.by_value else posting.booked_on
        return (self.since is None or day >= self.since) and (
            self.until is None or day <= self.until
        )


EVER = Days()
