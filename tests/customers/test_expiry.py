"""A new day tells by itself whose documents are good no more."""

from datetime import timedelta
from uuid import uuid4

import msgspec

from cbs.customers.application.customers import Customers
from cbs.customers.main import in_postgres
from cbs.customers.tasks import Expiry
from cbs.kernel.calendar import business_date
from cbs.platform.context import new_id, now
from tests.customers.people import body


async def verified(clerk) -> None:
    """Somebody whose passport is good for three days more."""
    expires = business_date(now()) + timedelta(days=3)
    passport = {"type": "passport", "number": f"M{uuid4().hex[:7]}"}
    papers = [passport | {"expires_on": expires.isoformat()}]
    customer = (await clerk.post("/v1/customers", json=body(documents=papers))).json()
    url = f"/v1/customers/{customer['id']}"
    await clerk.post(f"{url}/documents/{customer['documents'][0]['id']}/verify")


def expiry(runtime, *, days: int) -> Expiry:
    """As it looks after so many days."""
    kept = in_postgres(runtime)
    return Expiry(
        customers=Customers(
            store=kept.customers,
            sagas=kept.sagas({}),
            now=lambda: now() + timedelta(days=days),
            new_id=new_id,
        ),
        database=runtime.database,
        principal=runtime.principal,
    )


async def test_expired_verifications_are_told_once(served, clerk, facts):
    runtime = served.service.runtime
    await verified(clerk)
    today, later = expiry(runtime, days=0), expiry(runtime, days=4)

    assert await today.look() == 0
    assert await later.look() == 1
    assert await later.look() == 0

    name, fact = (await facts())[-1]
    told = msgspec.json.decode(fact)
    assert (name, told["actor"]) == ("kyc-status-changed", "customers")
    assert told["data"]["kyc"] == "expired"
