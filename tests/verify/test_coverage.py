"""Every column of every table is seen by the check that is said to see it, or is said not to be."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from cbs.bank import SERVICES
from cbs.platform.coverage import Columns, coverage_of, unseen
from cbs.platform.declaration import declaration_of
from cbs.platform.invariants import Check
from cbs.tools.ops.verify.every_service import coverage_of_every
from cbs.tools.ops.verify.snapshots import DatabasePlace, Snapshots
from cbs.tools.ops.verify.verify import checks_of, read_first
from tests.conftest import Database
from tests.verify.bank import BUILDS
from tests.verify.planted import CONSTRAINTS

ROWS_MAX, FENCE_SECONDS_MAX = 2, 0.2
COLUMNS = """
    SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"""
# Further away, so that it is no other row's.
FAR = 10_007


def coverage(service: str) -> tuple[Columns, ...]:
    return coverage_of_every(service) + coverage_of(service)


def names_of(service: str, each: Columns) -> list[str]:
    """`<service>/<check>` of those that see it."""
    return [name if "/" in name else f"{service}/{name}" for name in each.by]


def by_name(services: Iterable[str]) -> dict[str, Check]:
    return {f"{check.service}/{check.name}": check for check in checks_of(list(services))}


def uncovered(
    there: set[tuple[str, str]], said: tuple[Columns, ...]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What there is and is not said, and what is said and there is not."""
    named = {(each.table, column) for each in said for column in each.columns}
    return there - named, named - there


@pytest.mark.parametrize("service", SERVICES)
async def test_every_column_is_seen_or_it_is_said_why_not(service, database):
    connection = await asyncpg.connect(database(service).verify_url)
    there = {tuple(row) for row in await connection.fetch(COLUMNS)}
    await connection.close()

    assert uncovered(there, coverage(service)) == (set(), set())


def test_a_new_column_is_not_overlooked():
    said = (unseen("account", "number", because="planted"),)

    assert uncovered({("account", "number"), ("account", "tier")}, said) == (
        {("account", "tier")},
        set(),
    )


def test_only_checks_that_there_are_see_anything():
    named = {
        name
        for service in SERVICES
        for each in coverage(service)
        for name in names_of(service, each)
    }

    assert named - set(by_name(SERVICES)) == set()


def edited(value: Any, type_name: str) -> Any:
    """Another value of its type that might as well stand there; a list that is empty is of ids."""
    match value:
        case None:
            return {
                "bool": True,
                "uuid": UUID(int=7),
                "date": date(2026, 1, 5),
                "timestamptz": datetime(2026, 1, 5, tzinfo=UTC),
                "bytea": b"7",
                "jsonb": '{"planted": 7}',
            }.get(type_name, 7 if type_name.startswith("int") else "7")
        case bool():
            return not value
        case int():
            return value + 1
        case UUID():
            return UUID(int=value.int ^ 1)
        case datetime():
            return value + timedelta(seconds=1)
        case date():
            return value + timedelta(days=1)
        case bytes():
            return _flipped(value)
        case list():
            first = value[0] if value else UUID(int=7)
            return [edited(first, type_name), *value[1:]]
        case str() if type_name == "jsonb":
            return msgspec.json.encode({**msgspec.json.decode(value), "planted": 7}).decode()
        case "INR":
            return "EUR"
        case str():
            return f"{value}7"
    raise AssertionError((value, type_name))


def _flipped(value: bytes) -> bytes:
    """One letter or digit in the last third is another one, or a byte is, if it is no text."""
    for place in range(len(value) * 2 // 3, len(value)):
        if value[place : place + 1].isalnum() and value.isascii():
            other = b"7" if value[place : place + 1] != b"7" else b"8"
            return value[:place] + other + value[place + 1 :]
    return bytes([value[0] ^ 1]) + value[1:] if value else b"7"


class Spoiler:
    """Edits one value at a time, as a superuser for whom no trigger and no check is in the way."""

    def __init__(self, bank: Mapping[str, Database], service: str) -> None:
        self.bank, self.service = bank, service

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Spoiler"]:
        self.connection = await asyncpg.connect(self.bank[self.service].admin_url)
        try:
            await self.connection.execute("SET session_replication_role = replica")
            for row in await self.connection.fetch(CONSTRAINTS):
                await self.connection.execute(row[0])
            yield self
        finally:
            await self.connection.close()

    async def rows(self, each: Columns) -> list[Any]:
        found: list[Any] = await self.connection.fetch(
            f"SELECT *, ctid AS place_of_row FROM {each.table} WHERE {each.where}"
            f" ORDER BY ctid LIMIT {ROWS_MAX}"
        )
        return found

    async def put(self, table: str, place: Any, column: str, value: Any) -> Any:
        """Returns where the row now is."""
        return await self.connection.fetchval(
            f'UPDATE {table} SET "{column}" = $2 WHERE ctid = $1 RETURNING ctid', place, value
        )

    async def type_of(self, table: str, column: str) -> str:
        return str(await self.connection.fetchval(TYPE, table, column))


TYPE = """
    SELECT udt_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = $1 AND column_name = $2"""


async def found_by(checks: Sequence[Check], bank: Mapping[str, Database]) -> bool:
    """Whether one of the checks, asked alone, finds something now."""
    needed = {name for each in checks for name in (each.service, *each.reads)}
    services = needed.union(*(declaration_of(each.service).hears for each in checks)) & set(bank)
    hears = {service: declaration_of(service).hears for service in services}
    snapshots = Snapshots(
        places={service: DatabasePlace(url=bank[service].verify_url) for service in services},
        hears=hears,
        read_first=read_first(checks, hears),
        fence_seconds_max=FENCE_SECONDS_MAX,
    )
    async with snapshots.taken(lambda _: None):
        for check in checks:
            async with snapshots.apart():
                async for _ in check.find(snapshots):
                    return True
    return False


async def unnoticed(
    spoiler: Spoiler, each: Columns, checks: Sequence[Check], bank: Mapping[str, Database]
) -> list[str]:
    """The edits of these columns that no check finds; all are taken back."""
    missed = []
    for row in await spoiler.rows(each):
        place = row["place_of_row"]
        for column in each.columns:
            type_name = await spoiler.type_of(each.table, column)
            now = row[column]
            other = edited(now, type_name)
            for value in [other] if now is None else [other, None]:
                try:
                    place = await spoiler.put(each.table, place, column, value)
                except asyncpg.NotNullViolationError:
                    continue
                except asyncpg.UniqueViolationError:
                    value = now + FAR
                    place = await spoiler.put(each.table, place, column, value)
                if not await found_by(checks, bank):
                    missed.append(f"{each.table}.{column}: {value!r} for {now!r}")
                place = await spoiler.put(each.table, place, column, now)
    return missed


def may_be_empty(service: str, table: str) -> bool:
    """Tables of which each row is a violation, or that are used by an older release alone."""
    hears_nobody = not declaration_of(service).hears
    return (service, table) in UNUSED or (hears_nobody and table in ("watermark", "dead_letter"))


@pytest.mark.parametrize("service", BUILDS)
async def test_an_edit_of_any_column_that_is_said_to_be_seen_is_seen(service, bank):
    known = by_name(BUILDS)
    missed: list[str] = []
    for source in declaration_of(service).hears:
        await digested_late(bank, service, source)
    async with Spoiler(bank, service).connected() as spoiler:
        for each in coverage(service):
            if not each.by:
                continue
            checks = [known[name] for name in names_of(service, each)]
            assert not await found_by(checks, bank), f"{each.by} before anything is edited"
            if not await spoiler.rows(each) and not may_be_empty(service, each.table):
                missed.append(f"{each.table}: no row where {each.where}")
            missed += await unnoticed(spoiler, each, checks, bank)

    assert missed == []


# Payments are kept under their keys at the ledger.
UNUSED = {("payments", "request"), ("audit", "request")}


async def digested_late(bank: Mapping[str, Database], service: str, source: str) -> None:
    """A fact that was set aside, and then replayed."""
    sources = await asyncpg.connect(bank[source].admin_url)
    body = await sources.fetchval("SELECT body FROM outbox WHERE position = 1")
    await sources.close()
    connection = await asyncpg.connect(bank[service].admin_url)
    await connection.execute(
        "INSERT INTO dead_letter VALUES ($1, 1, $2, 'indigestible', now(), now())", source, body
    )
    await connection.close()
