"""What the release before accounts_0002_saga wrote is read after it, and its open changes go on."""

import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from cbs.accounts.domain.account import State
from cbs.accounts.domain.freeze import Scope
from cbs.accounts.store.accounts import PostgresAccounts
from cbs.accounts.store.adoption import ChangesBeforeSagas
from cbs.accounts.tables import AccountRow, FreezeRow
from cbs.kernel.saga import DONE
from cbs.platform.database import Database
from cbs.platform.migrations import migrate
from cbs.platform.saga_store import PostgresSagas
from tests.accounts.fakes import Bank
from tests.accounts.test_adoption import BEGUN, TERMS

ID, NUMBER, CUSTOMER = uuid4(), "00010000000013", UUID(int=7)
FROZEN = {**TERMS, "frozen": "all"}
ACCOUNT = """
    INSERT INTO account VALUES ($1, $2, 1, $3, 'CURRENT-INR', 'INR', 'open', 0, 200000000,
        500000000, 'all', 2, 1, false, clock_timestamp(), NULL)"""


@pytest.fixture
async def url(empty_database) -> str:
    """A database as the release before left it: an account whose freeze the ledger has not."""
    place = empty_database("accounts")
    await migrate("accounts", place.owner_url, last="accounts_0001_first")
    before = await asyncpg.connect(place.owner_url)
    await before.execute(ACCOUNT, ID, NUMBER, CUSTOMER)
    for step, key in (("tell-ledger", "open-key"), ("done", "done-key")):
        words = (uuid4(), ID, "freeze", step, 2, json.dumps(FROZEN), json.dumps(TERMS), key)
        await before.execute(BEGUN, *words, None, None, -1)
    await before.close()
    await migrate("accounts", place.owner_url)
    return str(place.runtime_url)


async def test_accounts_and_open_changes_are_read_after_the_migration(url):
    database = Database(url)
    database.bind(AccountRow, FreezeRow)
    await database.open()
    try:
        account = await PostgresAccounts(database=database).get(ID)
        sagas = PostgresSagas(database=database, definitions=Bank().definitions)
        adopted = await ChangesBeforeSagas(database=database, sagas=sagas).adopt()
        await database.execute("UPDATE saga SET lease_until = clock_timestamp() - interval '1 s'")
        [saga] = await sagas.take_due(limit=9)
    finally:
        await database.close()

    assert account is not None
    assert (account.number, account.state, account.terms.frozen) == (NUMBER, State.OPEN, Scope.ALL)
    assert (account.version, account.acknowledged) == (2, 1)
    assert adopted == 1 and saga.step == "change-terms-in-ledger" != DONE
    assert (saga.requester.key, saga.data.account_id, saga.data.version) == ("open-key", ID, 2)
    assert (saga.data.terms.frozen, saga.data.former.frozen) == (Scope.ALL, None)
