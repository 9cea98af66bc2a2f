"""Accounts of the release before accounts_0003_freeze are read, shown and unfrozen after it."""

from uuid import UUID, uuid4

import asyncpg

from cbs.accounts.domain.freeze import Scope
from cbs.accounts.store.accounts import PostgresAccounts
from cbs.accounts.tables import AccountRow, FreezeRow
from cbs.platform.database import Database
from cbs.platform.migrations import migrate
from tests.accounts.fakes import NOON

ID, CUSTOMER = uuid4(), UUID(int=7)
FROZEN = """
    INSERT INTO account VALUES ($1, '00010000000013', 1, $2, 'CURRENT-INR', 'INR', 'open', 0,
        200000000, 500000000, 'all', 2, 2, false, $3, NULL)"""


async def test_a_frozen_account_is_frozen_and_is_lifted(empty_database):
    place = empty_database("accounts")
    await migrate("accounts", place.owner_url, last="accounts_0002_saga")
    before = await asyncpg.connect(place.owner_url)
    await before.execute(FROZEN, ID, CUSTOMER, NOON)
    await before.close()
    await migrate("accounts", place.owner_url)
    database = Database(place.runtime_url)
    database.bind(AccountRow, FreezeRow)
    await database.open()
    try:
        accounts = PostgresAccounts(database=database)
        account = await accounts.get(ID)
        assert account is not None
        [freeze] = account.freezes
        async with database.transaction():
            await accounts.update(
                ID, lambda known: known.unfreeze(None, because="paid", by="usha", at=NOON)
            )
        after = await accounts.get(ID)
        [kept] = await database.fetch("SELECT lifted_by, lifted_because FROM account_freeze")
    finally:
        await database.close()

    assert (freeze.scope, freeze.placed_by, freeze.placed_at) == (Scope.ALL, "unknown", NOON)
    assert after is not None
    assert (after.freezes, after.terms.frozen, after.version) == ((), None, 3)
    assert tuple(kept) == ("usha", "paid")
