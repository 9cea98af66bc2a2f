"""The database keeps the books by itself: not even the service's own role can cook them."""

from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import Database as Place

INSERT = """
    INSERT INTO posting (account, seq, transaction_id, leg, amount_minor, balance_after_minor,
        currency, booked_on, value_on, limited)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::smallint[], $5::bigint[],
        $6::bigint[], $7::text[], $8::date[], $9::date[], $10::boolean[])"""
TODAY = date(2026, 4, 1)


@pytest.fixture
async def service(database: Callable[[str], Place]) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the ledger's own role."""
    connection = await asyncpg.connect(database("ledger").runtime_url)
    try:
        yield connection
    finally:
        await connection.close()


async def insert(connection: Any, *legs: tuple[str, int, int, int], currency: str = "INR") -> None:
    """Legs are account, seq, amount and balance after."""
    transaction, count = uuid4(), len(legs)
    await connection.execute(
        INSERT,
        [leg[0] for leg in legs],
        [leg[1] for leg in legs],
        [transaction] * count,
        list(range(count)),
        [leg[2] for leg in legs],
        [leg[3] for leg in legs],
        [currency] * count,
        [TODAY] * count,
        [TODAY] * count,
        [False] * count,
    )


async def balances(connection: Any) -> dict[str, int]:
    rows = await connection.fetch("SELECT number, balance_minor FROM account")
    return {row["number"]: row["balance_minor"] for row in rows if row["balance_minor"]}


async def test_balanced_legs_move_the_balances(service):
    await insert(service, ("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 5, 5))

    assert await balances(service) == {"INR-CASH": -5, "INR-FEES": 5}


@pytest.mark.parametrize(
    ("legs", "currency"),
    [
        ([("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 6, 6)], "INR"),
        ([("INR-CASH", 1, -5, -5)], "INR"),
        ([("INR-CASH", 1, -5, -5), ("INR-FEES", 2, 5, 5)], "INR"),
        ([("INR-CASH", 1, -5, -4), ("INR-FEES", 1, 5, 5)], "INR"),
        ([("INR-CASH", 1, -5, -5), ("NO-SUCH", 1, 5, 5)], "INR"),
        ([("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 5, 5)], "CZK"),
        ([("INR-CASH", 1, 0, 0), ("INR-FEES", 1, 0, 0)], "INR"),
    ],
    ids=["unbalanced", "one-leg", "gap", "wrong-balance", "no-account", "currency", "nothing"],
)
async def test_what_does_not_follow_is_refused_whole(service, legs, currency):
    with pytest.raises(asyncpg.CheckViolationError):
        await insert(service, *legs, currency=currency)

    assert await balances(service) == {}


async def test_a_floor_holds_in_the_database_as_well(service):
    await service.execute("UPDATE account SET floor_minor = 0 WHERE number = 'INR-CASH'")
    with pytest.raises(asyncpg.CheckViolationError, match="floor"):
        await insert(service, ("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 5, 5))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE account SET balance_minor = 1000000",
        "UPDATE posting SET amount_minor = 1",
        "DELETE FROM posting",
        "TRUNCATE posting",
        "DELETE FROM transaction",
        "UPDATE outbox SET body = ''",
        "DELETE FROM outbox",
        "DELETE FROM request",
        "DELETE FROM account",
        "ALTER TABLE posting DISABLE TRIGGER ALL",
        "CREATE TABLE mine (x int)",
        "DROP TRIGGER apply_postings ON posting",
        "INSERT INTO account (number, kind, currency, debit_blocked, credit_blocked, closed,"
        " version, balance_minor) VALUES ('x', 'internal', 'INR', false, false, false, 1, 5)",
    ],
)
async def test_the_services_role_cannot_rewrite_history(service, statement):
    await insert(service, ("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 5, 5))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)


async def test_not_even_the_owner_changes_a_posting_by_mistake(database):
    owner = await asyncpg.connect(database("ledger").owner_url)
    try:
        await insert(owner, ("INR-CASH", 1, -5, -5), ("INR-FEES", 1, 5, 5))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute("UPDATE posting SET amount_minor = 1")
    finally:
        await owner.close()
