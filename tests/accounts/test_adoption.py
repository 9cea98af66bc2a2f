"""A change that the release before sagas began and left is carried on, as its saga."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from cbs.platform.context import new_id
from tests.accounts.conftest import Bank
from tests.accounts.test_crashes import facts, finished

# As 66ce025 wrote it.
BEGUN = """
    INSERT INTO change (id, account_id, kind, step, version, terms, former, principal, key,
        on_behalf_of, correlation_id, reason, refusal_status, refusal_body, lease_until)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'tara', $8, '', 'c0ffee', 'court order', $9, $10,
        clock_timestamp() + make_interval(secs => $11))"""
CLAIMED = """
    INSERT INTO request (principal, key, fingerprint, asked_at)
    VALUES ('tara', $1, '\\x00', clock_timestamp())"""
TERMS = {
    "overdraft_minor": 0,
    "limit_per_transaction_minor": 200_000_000,
    "limit_per_day_minor": 500_000_000,
    "frozen": None,
}
NO = {"type": "urn:cbs:account-not-empty", "title": "Not empty.", "status": 409}


class Before:
    """The release before, at the same databases."""

    def __init__(self, bank: Bank, url: str) -> None:
        self.bank, self.url = bank, url

    async def execute(self, statement: str, *values: Any) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def begin(
        self, kind: str, step: str, account_id: UUID, *, version: int, **said: Any
    ) -> str:
        key = f"before-{uuid4().hex[:8]}"
        no = json.dumps(said["no"]).encode() if "no" in said else None
        await self.execute(CLAIMED, key)
        await self.execute(
            BEGUN,
            new_id(),
            account_id,
            kind,
            step,
            version,
            json.dumps(said.get("terms", TERMS)),
            json.dumps(TERMS),
            key,
            409 if no else None,
            no,
            said.get("lease_seconds", -1),
        )
        return key


@pytest.fixture
def before(bank: Bank) -> Before:
    return Before(bank, bank.accounts.service.runtime.settings.postgres_url)


async def opened(bank: Bank) -> dict[str, Any]:
    return await bank.opened(product="CURRENT-INR")


async def test_an_opening_is_carried_on(bank: Bank, before: Before):
    account = await opened(bank)
    id, number = uuid4(), "00010000009993"
    await before.execute(
        "INSERT INTO account SELECT $1, $2, branch, customer_id, product, currency, 'opening',"
        " overdraft_minor, limit_per_transaction_minor, limit_per_day_minor, NULL, 1, 0, true,"
        " NULL, NULL FROM account WHERE id = $3",
        id,
        number,
        UUID(account["id"]),
    )
    key = await before.begin("open", "check-customer", id, version=1)

    told = await finished(bank, key)

    assert (told["status"], told["answer"]["state"]) == (201, "open")
    assert (await bank.in_the_book({"number": number}))["version"] == 1
    assert await facts(bank, str(id)) == [("account-opened", "accounts", "tara")]


async def test_a_freeze_is_carried_on(bank: Bank, before: Before):
    account = await opened(bank)
    id, frozen = UUID(account["id"]), {**TERMS, "frozen": "all"}
    await before.execute("UPDATE account SET frozen = 'all', version = 2 WHERE id = $1", id)
    key = await before.begin("freeze", "tell-ledger", id, version=2, terms=frozen)

    told = await finished(bank, key)

    assert (told["status"], told["answer"]["frozen"]) == (200, "all")
    assert (await bank.in_the_book(account))["credit_blocked"] is True
    assert (await facts(bank, account["id"]))[-1] == ("account-frozen", "accounts", "tara")


async def test_a_refused_closing_is_undone(bank: Bank, before: Before):
    account = await opened(bank)
    id = UUID(account["id"])
    await before.execute("UPDATE account SET version = 3, contingent = true WHERE id = $1", id)
    key = await before.begin("close", "withdraw", id, version=3, no=NO)

    told = await finished(bank, key)

    assert (told["status"], told["answer"]) == (409, NO)
    now = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
    assert (now["state"], now["settled"], now["version"]) == ("open", True, 3)
    assert (await bank.in_the_book(account))["version"] == 3


async def test_what_an_instance_of_the_release_before_still_drives_is_left_to_it(
    bank: Bank, before: Before
):
    account = await opened(bank)
    id = UUID(account["id"])
    await before.execute("UPDATE account SET frozen = 'all', version = 2 WHERE id = $1", id)
    key = await before.begin(
        "freeze", "tell-ledger", id, version=2, terms={**TERMS, "frozen": "all"}, lease_seconds=60
    )
    adoption = bank.accounts.service.spec.tasks["adoption"]
    [changes] = adoption.args  # type: ignore[attr-defined]

    assert await changes.adopt() == 0
    await before.execute("UPDATE change SET lease_until = clock_timestamp() - interval '1 s'")
    assert (await finished(bank, key))["status"] == 200
