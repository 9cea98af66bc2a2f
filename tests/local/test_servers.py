"""The servers that every other test stands on."""

import asyncpg
import nats
import pytest

from cbs.tools.local import databases, postgres


async def test_the_runtime_role_works_in_a_schema_that_it_cannot_change(postgres_server):
    name = "test_roles"
    await databases.make_database(postgres_server, "ledger", name=name)
    try:
        owner = await asyncpg.connect(
            postgres.with_database(postgres_server, name, databases.owner_of("ledger"))
        )
        await owner.execute("CREATE TABLE posting (id int); GRANT SELECT ON posting TO cbs_ledger")
        await owner.close()
        runtime = await asyncpg.connect(
            postgres.with_database(postgres_server, name, databases.runtime_of("ledger"))
        )
        assert await runtime.fetch("SELECT * FROM posting") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.execute("CREATE TABLE mine (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.execute("INSERT INTO posting VALUES (1)")
        await runtime.close()
        verify = await asyncpg.connect(
            postgres.with_database(postgres_server, name, databases.VERIFY)
        )
        assert await verify.fetch("SELECT * FROM posting") == []
        await verify.close()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(
                postgres.with_database(postgres_server, name, databases.runtime_of("payments"))
            )
    finally:
        await databases.drop_database(postgres_server, name)


async def test_a_bank_refuses_a_server_that_may_lose_what_it_acknowledged(postgres_server):
    with pytest.raises(databases.NotDurable, match="fsync, full_page_writes is off"):
        await databases.check_durable(postgres_server)


async def test_an_account_has_streams_of_its_own(nats_server):
    one, other = [await nats.connect(next(nats_server)) for _ in range(2)]
    try:
        await one.jetstream().add_stream(name="CBS_LEDGER", subjects=["cbs.ledger.events.>"])
        assert await other.jetstream().streams_info() == []
        await one.jetstream().delete_stream("CBS_LEDGER")
    finally:
        await one.close()
        await other.close()


def test_a_url_changes_database_and_user():
    url = "postgresql://admin:secret@db:5432/postgres?sslmode=require"
    assert postgres.with_database(url, "cbs_ledger", "cbs_ledger") == (
        "postgresql://cbs_ledger@db:5432/cbs_ledger?sslmode=require"
    )
    assert postgres.with_database("postgresql://db", "x") == "postgresql://db/x"
