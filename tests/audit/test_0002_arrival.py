"""What the release before audit_0002_arrival kept is listed after it as it arrived."""

import asyncpg
import pytest

from cbs.audit.application.log import Sought
from cbs.audit.store import PostgresLog
from cbs.audit.tables import EntryRow, HeadRow
from cbs.platform.database import Database
from cbs.platform.migrations import migrate
from tests.audit.facts import NOON, record

INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'audit_entry'"


@pytest.fixture
async def database(empty_database):
    """As the release before left it, with an entry that was told of late; then migrated."""
    place = empty_database("audit")
    await migrate("audit", place.owner_url, last="audit_0001_first")
    database = Database(place.runtime_url)
    database.bind(EntryRow, HeadRow)
    await database.open()
    heard = [record(position=n, minutes=n % 2) for n in range(1, 6)]
    async with database.transaction():
        await PostgresLog(database=database).append(heard, at=NOON)
    await migrate("audit", place.owner_url)
    yield database, place.admin_url
    await database.close()


async def test_entries_of_the_release_before_are_listed_as_they_arrived(database):
    log = PostgresLog(database=database[0])
    all_of_them = await log.entries(Sought(), after=-1, limit=9)
    some = await log.entries(Sought(actor="teller-1", since=NOON), after=1, limit=2)
    connection = await asyncpg.connect(database[1])
    indexes = " ".join([row["indexdef"] for row in await connection.fetch(INDEXES)])
    await connection.close()

    assert [entry.index for entry in all_of_them] == [0, 1, 2, 3, 4]
    assert [entry.index for entry in some] == [2, 3]
    for column in ("actor", "subject", "source"):
        assert f"({column}, index)" in indexes and f"({column}, at, index)" not in indexes
    assert "(at, index)" in indexes
