"""Within a day the order of an old bank's transactions is the one in which its balances chain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Generic, Protocol, TypeVar

ROUNDING_MINOR_MAX = 10
ORDERS_MAX = 20_000


class StatementLine(Protocol):
    """A line of the old book; `balance_minor` is what it showed afterwards."""

    @property
    def id(self) -> int: ...
    @property
    def on(self) -> date: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def balance_minor(self) -> int: ...


E = TypeVar("E", bound=StatementLine)


@dataclass(frozen=True, slots=True)
class Ordering(Generic[E]):
    """An order up to the end of a day: that of the days before, then `steps`."""

    roundings: int = 0
    steps: tuple[E, ...] = ()
    before: "Ordering[E] | None" = None

    @property
    def rank(self) -> tuple[int, list[int]]:
        """The fewest roundings, then the lowest numbers first."""
        return self.roundings, [step.id for step in self.steps]


@dataclass(frozen=True, slots=True)
class Chain(Generic[E]):
    """One account's entries in order, and the days on which no order chains."""

    entries: list[E]
    broken: list[date]


def in_statement_order(entries: Sequence[E]) -> Chain[E]:
    """Order one account's entries, from a balance of zero.

    Every balance at which a day can end is followed, so that no day's choice spoils a later one.
    """
    ends: dict[int, Ordering[E]] = {0: Ordering()}
    broken: list[date] = []
    in_file_order = sorted(entries, key=lambda entry: (entry.on, entry.id))
    for on, same_day in groupby(in_file_order, key=lambda entry: entry.on):
        day = list(same_day)
        through = _through(ends, day)
        if not through:
            broken.append(on)
            through = _past_break(ends, day)
        ends = through
    way: Ordering[E] | None = min(ends.values(), key=lambda way: way.rank)
    days: list[tuple[E, ...]] = []
    while way is not None:
        days.append(way.steps)
        way = way.before
    return Chain([step for steps in reversed(days) for step in steps], broken)


def _through(starts: Mapping[int, Ordering[E]], day: Sequence[E]) -> dict[int, Ordering[E]]:
    """The best order for each balance at which the day can end; none if it does not chain."""
    begun = [(start, 0, Ordering(way.roundings, (), way)) for start, way in starts.items()]
    layer: dict[tuple[int, int], Ordering[E]] = {}
    for start, taken, way in begun:
        _keep_best(layer, _one_further(start, taken, way, day))
    for _ in day[1:]:
        further: dict[tuple[int, int], Ordering[E]] = {}
        for (taken, _), way in layer.items():
            _keep_best(further, _one_further(way.steps[-1].balance_minor, taken, way, day))
        if len(further) > ORDERS_MAX:
            return {}
        layer = further
    ends: dict[int, Ordering[E]] = {}
    for way in sorted(layer.values(), key=lambda way: way.rank):
        ends.setdefault(way.steps[-1].balance_minor, way)
    return ends


def _one_further(
    balance_minor: int, taken: int, way: Ordering[E], day: Sequence[E]
) -> Iterator[tuple[tuple[int, int], Ordering[E]]]:
    for place, entry in enumerate(day):
        rounding = entry.balance_minor - balance_minor - entry.amount_minor
        if not taken >> place & 1 and abs(rounding) <= ROUNDING_MINOR_MAX:
            roundings = way.roundings + (rounding != 0)
            yield (taken | 1 << place, place), Ordering(roundings, (*way.steps, entry), way.before)


def _keep_best(
    layer: dict[tuple[int, int], Ordering[E]], found: Iterator[tuple[tuple[int, int], Ordering[E]]]
) -> None:
    for place, way in found:
        if place not in layer or way.rank < layer[place].rank:
            layer[place] = way


def _past_break(starts: Mapping[int, Ordering[E]], day: Sequence[E]) -> dict[int, Ordering[E]]:
    """Go on after a day that does not follow: from what it shows, or from what it should show."""
    start, before = min(starts.items(), key=lambda item: item[1].rank)
    anywhere: dict[int, Ordering[E]] = {
        entry.balance_minor - entry.amount_minor: Ordering(before.roundings) for entry in day
    }
    inside = _through(anywhere, day)
    found = min(inside.values(), key=lambda way: way.rank) if inside else None
    way = Ordering(
        found.roundings if found else before.roundings, found.steps if found else tuple(day), before
    )
    expected = start + sum(entry.amount_minor for entry in day)
    return {expected: way, way.steps[-1].balance_minor: way}


def roundings(entries: Sequence[StatementLine]) -> list[int | None]:
    """What the old bank rounded at each step; None where its balance does not follow at all.

    A balance that does not follow is not believed: the next one is held against the sum.
    """
    found: list[int | None] = []
    believed = 0
    for entry in entries:
        believed += entry.amount_minor
        gap = entry.balance_minor - believed
        if abs(gap) <= ROUNDING_MINOR_MAX:
            believed = entry.balance_minor
            found.append(gap)
        else:
            found.append(None)
    return found
