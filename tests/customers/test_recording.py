"""What is kept of a customer is told as a digest, by whichever release keeps it."""

import asyncpg
import msgspec
import pytest

from cbs.customers.domain.facts import CustomerAmended
from cbs.customers.invariants import CHECKS
from cbs.customers.main import in_postgres
from cbs.customers.tasks import Recording
from cbs.platform.recorded import digest_of_rows
from cbs.tools.ops.verify.snapshots import DatabasePlace, Snapshots
from tests.customers.people import body

URL = "/v1/customers"


@pytest.fixture
async def by_hand(served):
    """Who writes the rows without telling."""
    connection = await asyncpg.connect(served.service.runtime.settings.postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def otherwise(served):
    async def found() -> list[str]:
        (check,) = CHECKS
        place = DatabasePlace(url=served.service.runtime.settings.postgres_url)
        snapshots = Snapshots(places={"customers": place}, hears={"customers": ()})
        async with snapshots.taken(lambda _: None), snapshots.apart():
            return [str(row["fault"]) async for row in check.find(snapshots)]

    return found


async def last_fact(runtime) -> tuple[str, dict]:
    *_, (_, subject, fact) = await runtime.outbox.after(0, limit=99)
    return subject.rpartition(".")[2], msgspec.json.decode(fact)["data"]


async def test_customers_of_a_release_that_told_no_digest_are_recorded_once(
    served, clerk, by_hand, otherwise
):
    runtime = served.service.runtime
    recording = Recording(
        store=in_postgres(runtime).customers, database=runtime.database, principal=runtime.principal
    )
    customer = (await clerk.post(URL, json=body())).json()
    await by_hand.execute("UPDATE customer SET salt = NULL, given_name = 'Usha'")
    assert await otherwise() == ["kept otherwise than it was recorded"]

    assert [await recording.look() for _ in range(2)] == [1, 0]

    name, told = await last_fact(runtime)
    rows = [await by_hand.fetchrow("SELECT * FROM customer")]
    rows += await by_hand.fetch("SELECT * FROM document ORDER BY place")
    assert (name, told["customer_id"]) == ("customer-recorded", customer["id"])
    assert told["digest"] == digest_of_rows(rows)
    assert await otherwise() == []


async def test_a_change_by_an_older_release_leaves_its_customer_unjudged_until_the_next(
    served, clerk, by_hand, otherwise
):
    runtime = served.service.runtime
    customer = (await clerk.post(URL, json=body())).json()
    await by_hand.execute("UPDATE customer SET given_name = 'Usha'")
    async with runtime.database.transaction():
        amended = CustomerAmended(customer_id=customer["id"], fields=("given_name",))
        await runtime.outbox.put(amended)
    assert await otherwise() == []

    await clerk.patch(f"{URL}/{customer['id']}", json={"email": "usha@example.in"})
    assert await otherwise() == []
    await by_hand.execute("UPDATE customer SET given_name = 'Mallory'")

    assert await otherwise() == ["kept otherwise than it was recorded"]


async def test_each_change_has_a_salt_of_its_own(clerk, by_hand):
    customer = (await clerk.post(URL, json=body())).json()
    first = await by_hand.fetchval("SELECT salt FROM customer")
    await clerk.patch(f"{URL}/{customer['id']}", json={"email": "usha@example.in"})
    second = await by_hand.fetchval("SELECT salt FROM customer")

    assert len(first) == len(second) == 16
    assert first != second


async def test_who_was_never_told_of_is_found(clerk, by_hand, otherwise):
    await clerk.post(URL, json=body())
    await by_hand.execute(
        "INSERT INTO customer SELECT gen_random_uuid(), given_name, family_name, search_name,"
        " date_of_birth, email, mobile, address, imported, registered_at, status, status_reason,"
        " kyc, verified_until, risk, risk_reason, rated_by, rated_at FROM customer"
    )

    assert await otherwise() == ["never told"]


def test_a_column_that_comes_later_and_holds_nothing_changes_no_digest():
    row = {"id": 1, "salt": b"s" * 16}

    assert digest_of_rows([row]) == digest_of_rows([{**row, "tier": None, "held": False}])
    assert digest_of_rows([row]) != digest_of_rows([{**row, "tier": "gold"}])
