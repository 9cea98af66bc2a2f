"""What the engine promises beyond piccolo's, on real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from piccolo.engine.exceptions import TransactionError

from cbs.platform.database import UNREACHABLE, Database
from tests.conftest import Database as Place

AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF new.amount < 0 THEN RAISE EXCEPTION 'negative'; END IF; RETURN NULL; END $$;
CREATE TABLE entry (amount int);
CREATE CONSTRAINT TRIGGER refuse_negative AFTER INSERT ON entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"""


@pytest.fixture
async def one(database: Callable[[str], Place]) -> AsyncIterator[Database]:
    """A pool of one connection, on which a COMMIT can fail."""
    connected = Database(database("ledger").owner_url, connections_max=1)
    await connected.open()
    await connected.execute(AT_COMMIT)
    yield connected
    await connected.close()


async def insert(database: Database, amount: int) -> None:
    async with database.transaction():
        await database.execute("INSERT INTO entry VALUES ($1)", amount)


async def test_a_commit_that_fails_gives_its_connection_back(one):
    for _ in range(3):
        with pytest.raises(asyncpg.RaiseError, match="negative"):
            await insert(one, -1)
    await asyncio.wait_for(insert(one, 1), timeout=2)

    assert len(await one.fetch("SELECT * FROM entry")) == 1


async def test_transactions_do_not_nest(one):
    with pytest.raises(TransactionError):
        async with one.transaction():
            await insert(one, 1)


async def test_a_connection_that_is_cut_leaves_no_half_transaction(one, postgres_server):
    async with one.transaction():
        pid = (await one.fetchrow("SELECT pg_backend_pid() AS pid"))["pid"]

    async def cut_in_the_middle() -> None:
        async with one.transaction():
            await one.execute("INSERT INTO entry VALUES (1)")
            admin = await asyncpg.connect(postgres_server)
            await admin.execute("SELECT pg_terminate_backend($1)", pid)
            await admin.close()
            await one.execute("INSERT INTO entry VALUES (2)")

    with pytest.raises(UNREACHABLE):
        await cut_in_the_middle()
    await insert(one, 3)

    assert [row["amount"] for row in await one.fetch("SELECT * FROM entry")] == [3]
