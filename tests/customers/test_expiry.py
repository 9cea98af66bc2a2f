"""A new day tells by itself whose documents are good no more."""

from dataclasses import replace
from datetime import timedelta

import msgspec

from cbs.customers.application.customers import Customers
from cbs.customers.store.customers import PostgresCustomers
from cbs.customers.store.vault import Vault
from cbs.customers.tasks import Expiry
from cbs.kernel.calendar import business_date
from cbs.platform.context import new_id, now
from tests.customers.people import body


async def test_expired_verifications_are_told_once(served, clerk, facts, vault_key):
    runtime = served.service.runtime
    expires = business_date(now()) + timedelta(days=3)
    passport = {"type": "passport", "number": "M1234567", "expires_on": expires.isoformat()}
    customer = (await clerk.post("/v1/customers", json=body(documents=[passport]))).json()
    url = f"/v1/customers/{customer['id']}"
    await clerk.post(f"{url}/documents/{customer['documents'][0]['id']}/verify")
    today = Expiry(
        customers=Customers(
            store=PostgresCustomers(
                database=runtime.postgres, outbox=runtime.outbox, vault=Vault(vault_key)
            ),
            now=now,
            new_id=new_id,
        ),
        database=runtime.database,
        principal=runtime.principal,
    )
    later = replace(
        today, customers=replace(today.customers, now=lambda: now() + timedelta(days=4))
    )

    assert await today.look() == 0
    assert await later.look() == 1
    assert await later.look() == 0

    name, fact = (await facts())[-1]
    told = msgspec.json.decode(fact)
    assert (name, told["actor"]) == ("kyc-status-changed", "customers")
    assert told["data"]["kyc"] == "expired"
