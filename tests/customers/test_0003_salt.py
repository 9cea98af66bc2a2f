"""What the release before customers_0003_salt wrote is read after it, and its digests are told."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from cbs.customers.main import CustomersSettings, build
from cbs.customers.service import DECLARATION
from cbs.platform.migrations import migrate
from cbs.tools.local.waiting import until
from tests.customers.conftest import CLERK
from tests.customers.test_0002_standing import CUSTOMER
from tests.serving import described, serving

RECORDED_SECONDS_MAX = 10
UNRECORDED = "SELECT count(*) FROM customer WHERE salt IS NULL"
TOLD = "SELECT subject FROM outbox WHERE subject LIKE '%.customer-recorded'"


@pytest.fixture
def place(empty_database):
    return empty_database("customers")


@pytest.fixture
async def ids(place) -> list[UUID]:
    """Customers as the release before left them."""
    await migrate("customers", place.owner_url, last="customers_0002_standing")
    ids = [uuid4() for _ in range(3)]
    before = await asyncpg.connect(place.owner_url)
    for id in ids:
        await before.execute(CUSTOMER, id, None, "active", None)
    await before.close()
    await migrate("customers", place.owner_url)
    return ids


async def test_they_are_recorded_as_soon_as_the_service_runs_and_read_and_amended(
    ids, place, nats_url, tmp_path, vault_key, signer
):
    service = described(
        DECLARATION,
        CustomersSettings,
        build,
        database=place,
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
        vault_key_file=vault_key,
    )
    reader = await asyncpg.connect(place.runtime_url)

    async def unrecorded() -> int:
        return int(await reader.fetchval(UNRECORDED))

    async with serving(service, signer) as served, served.client("chitra", *CLERK) as clerk:
        left = await until(unrecorded, done=lambda n: n == 0, seconds=RECORDED_SECONDS_MAX)
        read = [await clerk.get(f"/v1/customers/{id}") for id in ids]
        amended = await clerk.patch(f"/v1/customers/{ids[0]}", json={"email": "z@b.in"})
    told = await reader.fetch(TOLD)
    await reader.close()

    assert left == 0
    assert [each.status_code for each in (*read, amended)] == [200] * 4
    assert len(told) == len(ids) + 1
