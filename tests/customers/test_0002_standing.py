"""What the release before customers_0002_standing wrote is read after it; accounts are told."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from cbs.customers.main import CustomersSettings, build
from cbs.customers.service import DECLARATION
from cbs.platform.migrations import migrate
from cbs.tools.local.waiting import until
from tests.customers.conftest import CLERK
from tests.serving import described, serving

SETTLED_SECONDS_MAX = 10
CUSTOMER = """
    INSERT INTO customer (id, given_name, family_name, search_name, date_of_birth, mobile, address,
        imported, registered_at, status, status_reason, kyc, risk)
    VALUES ($1, 'Zoë', $2, 'zoë', '1990-04-01', '+9198765432',
        '{"lines": ["1"], "city": "Pune", "state": null, "postal_code": null, "country": "ZZ"}',
        false, now(), $3, $4, 'pending', 'low')"""


@pytest.fixture
def place(empty_database):
    return empty_database("customers")


@pytest.fixture
async def ids(place) -> dict[str, UUID]:
    """Customers as the release before left them."""
    await migrate("customers", place.owner_url, last="customers_0001_first")
    ids = {status: uuid4() for status in ("active", "suspended", "closed")}
    before = await asyncpg.connect(place.owner_url)
    for status, id in ids.items():
        await before.execute(CUSTOMER, id, "ŌTA" if status == "active" else None, status, status)
    await before.close()
    await migrate("customers", place.owner_url)
    return ids


@pytest.fixture
def service(ids, place, nats_url, tmp_path, vault_key, signer):
    return described(
        DECLARATION,
        CustomersSettings,
        build,
        database=place,
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
        vault_key_file=vault_key,
    )


async def test_they_are_read_found_and_amended_and_accounts_hear_of_the_suspended(
    ids, service, signer, accounts
):
    async with serving(service, signer) as served, served.client("chitra", *CLERK) as clerk:
        unfinished = service.spec.queues["sagas"]
        assert await until(unfinished, done=lambda n: n == 0, seconds=SETTLED_SECONDS_MAX) == 0
        read = {
            status: (await clerk.get(f"/v1/customers/{id}")).json() for status, id in ids.items()
        }
        found = (await clerk.get("/v1/customers?name=%C5%8Dta")).json()["items"]
        amended = await clerk.patch(f"/v1/customers/{ids['active']}", json={"email": "z@b.in"})
        lifted = await clerk.post(f"/v1/customers/{ids['suspended']}/reinstate", json=REASON)

    assert [each.customer_id for each in accounts.told] == [ids["suspended"]] * 2
    assert [(each.version, each.standing) for each in accounts.told] == [
        (1, "suspended"),
        (2, "active"),
    ]
    assert {each["status"] for each in read.values()} == ids.keys()
    assert (read["active"]["mobile"], read["active"]["address"]["country"]) == ("+9198765432", "ZZ")
    assert [each["id"] for each in found] == [str(ids["active"])]
    assert (amended.status_code, lifted.status_code) == (200, 200), (amended.text, lifted.text)


async def test_an_index_that_was_broken_off_is_built_again_beside_who_writes(place):
    await migrate("customers", place.owner_url)
    admin = await asyncpg.connect(place.admin_url)
    try:
        await admin.execute(BREAK_OFF)
        writer = await asyncpg.connect(place.owner_url)
        under_way = writer.transaction()
        await under_way.start()
        await writer.execute(CUSTOMER, uuid4(), None, "active", None)
        building = asyncio.create_task(migrate("customers", place.owner_url))
        await asyncio.sleep(0.3)
        built_while_written = building.done()
        await under_way.commit()
        await building
        await writer.close()
        indexes = {row["name"]: row["indisvalid"] for row in await admin.fetch(INDEXES)}
    finally:
        await admin.close()

    assert not built_while_written
    assert indexes == {"customer_held": True, "customer_search_family": True}


BREAK_OFF = """
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'customer_search_family'::regclass"""
INDEXES = """
    SELECT indexrelid::regclass::text AS name, indisvalid FROM pg_index
    WHERE indexrelid::regclass::text IN ('customer_held', 'customer_search_family')"""
REASON = {"reason": "cleared"}
