"""Tables in memory with what the migrations promise: keys, checks, double entry; all undoable."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import asyncpg

Row = dict[str, Any]
Check = Callable[[Row], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """`unique` are the keys; one with a condition holds for the rows that meet it."""

    unique: Sequence[tuple[str, ...]] = ()
    unique_if: Sequence[tuple[tuple[str, ...], Check]] = ()
    default: Row = field(default_factory=dict)
    checks: Sequence[Check] = ()


@dataclass(slots=True)
class _Table:
    schema: Schema
    rows: dict[int, Row] = field(default_factory=dict)
    keys: list[dict[tuple[Any, ...], int]] = field(default_factory=list)
    numbered: int = 0


class Tables:
    """One database. Every change is noted, so that it can be undone back to a mark."""

    def __init__(self, schemas: dict[str, Schema], now: Callable[[], datetime]) -> None:
        self.now = now
        self._tables = {
            name: _Table(schema, keys=[{} for _ in (*schema.unique, *schema.unique_if)])
            for name, schema in schemas.items()
        }
        self._done: list[tuple[str, int, Row | None, Row | None]] = []
        self._serial = 0
        self.after_insert: dict[str, Callable[[Sequence[Row]], None]] = {}

    @property
    def mark(self) -> int:
        return len(self._done)

    def undo(self, mark: int = 0) -> None:
        while len(self._done) > mark:
            name, place, before, after = self._done.pop()
            self._put(name, place, after, before)

    def keep(self) -> None:
        self._done.clear()

    def all(self, name: str) -> list[Row]:
        return list(self._tables[name].rows.values())

    def next_serial(self) -> int:
        """As a sequence: never given back, not even by a rollback."""
        self._serial += 1
        return self._serial

    def row(self, name: str, columns: tuple[str, ...], key: tuple[Any, ...]) -> Row | None:
        table = self._tables[name]
        place = table.keys[list(table.schema.unique).index(columns)].get(key)
        return None if place is None else table.rows[place]

    def count(self, name: str) -> int:
        return len(self._tables[name].rows)

    def pending(self, name: str, row: Row) -> bool:
        """Whether this row was put there by a transaction that has not committed."""
        return any(change[:2] == (name, row["_place"]) for change in self._done)

    def rows(self, name: str, named: tuple[str, int] | None, values: Sequence[Any]) -> list[Row]:
        """The rows that can meet a condition, by the shortest way."""
        table = self._tables[name]
        if named is not None:
            column, number = named
            for columns, keys in zip(table.schema.unique, table.keys, strict=False):
                if columns == (column,):
                    place = keys.get((values[number],))
                    return [] if place is None else [table.rows[place]]
        return list(table.rows.values())

    def insert(self, name: str, new: Iterable[Row], *, lenient: bool = False) -> list[Row]:
        table, kept = self._tables[name], []
        for values in new:
            row = {**table.schema.default, **{k: _plain(v) for k, v in values.items()}}
            row["_place"] = table.numbered
            if self._taken(table, row, None):
                if lenient:
                    continue
                raise asyncpg.UniqueViolationError(f"{name}: {values}")
            table.numbered += 1
            self._change(name, row["_place"], None, row)
            kept.append(row)
        if kept and name in self.after_insert:
            self.after_insert[name](kept)
        return kept

    def replace(self, name: str, row: Row, news: Row) -> Row:
        table = self._tables[name]
        changed = {**row, **{k: _plain(v) for k, v in news.items()}}
        if self._taken(table, changed, row["_place"]):
            raise asyncpg.UniqueViolationError(f"{name}: {news}")
        self._change(name, row["_place"], row, changed)
        return changed

    def _change(self, name: str, place: int, before: Row | None, after: Row) -> None:
        for number, check in enumerate(self._tables[name].schema.checks):
            if not check(after):
                raise asyncpg.CheckViolationError(f"{name}: check {number}: {after}")
        self._done.append((name, place, before, after))
        self._put(name, place, before, after)

    def _put(self, name: str, place: int, before: Row | None, after: Row | None) -> None:
        table = self._tables[name]
        for number, key in enumerate(self._keys(table, before)):
            if key is not None:
                del table.keys[number][key]
        for number, key in enumerate(self._keys(table, after)):
            if key is not None:
                table.keys[number][key] = place
        if after is None:
            del table.rows[place]
        else:
            table.rows[place] = after

    @staticmethod
    def _keys(table: _Table, row: Row | None) -> list[tuple[Any, ...] | None]:
        if row is None:
            return []
        always = [tuple(row[c] for c in columns) for columns in table.schema.unique]
        return always + [
            tuple(row[c] for c in columns) if condition(row) else None
            for columns, condition in table.schema.unique_if
        ]

    def _taken(self, table: _Table, row: Row, place: int | None) -> bool:
        return any(
            key is not None and table.keys[number].get(key, place) != place
            for number, key in enumerate(self._keys(table, row))
        )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
