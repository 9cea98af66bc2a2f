"""Migrations make the tables that a service declares, and run once, or not at all."""

import asyncpg
import pytest

from cbs.bank import SERVICES
from cbs.platform.database import Database
from cbs.platform.declaration import OF_EVERY_SERVICE, declaration_of
from cbs.platform.migrations import check_migrated, migrate
from cbs.platform.settings import Misconfigured

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@pytest.mark.parametrize("service", SERVICES)
async def test_the_tables_are_those_that_the_service_declares_to_keep(service, database):
    connection = await asyncpg.connect(database(service).owner_url)
    try:
        rows = await connection.fetch(TABLES)
    finally:
        await connection.close()

    kept = (*declaration_of(service).keeps, *OF_EVERY_SERVICE.keeps)
    assert sorted(row["tablename"] for row in rows) == sorted(kept)


async def test_migrating_again_does_nothing(database):
    place = database("ledger")
    await migrate("ledger", place.owner_url)
    connected = Database(place.runtime_url)
    await connected.open()
    await check_migrated("ledger", connected)
    await connected.close()


async def test_a_service_does_not_start_on_a_database_that_lacks_something(database):
    place = database("ledger")
    owner = await asyncpg.connect(place.owner_url)
    await owner.execute("DELETE FROM migration")
    await owner.close()
    connected = Database(place.runtime_url)
    await connected.open()
    try:
        with pytest.raises(Misconfigured, match="ledger_0001_first"):
            await check_migrated("ledger", connected)
    finally:
        await connected.close()


async def test_a_migration_that_fails_leaves_nothing(database):
    place = database("ledger")
    owner = await asyncpg.connect(place.owner_url)
    await owner.execute("DELETE FROM migration")
    before = await owner.fetchval("SELECT count(*) FROM pg_class")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate("ledger", place.owner_url)
    assert await owner.fetchval("SELECT count(*) FROM pg_class") == before
    assert await owner.fetchval("SELECT count(*) FROM migration") == 0
    await owner.close()
