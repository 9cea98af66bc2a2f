"""What other services ask on the bus, asked as they ask it."""

from uuid import UUID

import msgspec
import pytest

from cbs.kernel.refusal import NotPermitted
from cbs.platform.bus import Bus
from cbs.platform.envelope import RemoteRefusal
from tests.customers.people import body, pan, some_id


class Standing(msgspec.Struct):
    customer_id: UUID
    status: str
    kyc: str
    risk: str
    name: str


@pytest.fixture
async def asking(served, nats_url):
    """Another service of the bank."""
    token = served.signer.token("accounts", "internal", kind="service")
    tokens = served.service.runtime.tokens
    bus = Bus(service="accounts", tokens=tokens, own_token=token)
    await bus.open(url=nats_url, nkey_file=None)
    yield bus
    await bus.close()


async def ask(bus: Bus, id: object) -> Standing:
    return await bus.call("customers.standing", {"customer_id": id}, Standing, own=True)


async def test_standing_tells_whether_to_do_business(clerk, asking):
    customer = (await clerk.post("/v1/customers", json=body())).json()
    url = f"/v1/customers/{customer['id']}"

    before = await ask(asking, customer["id"])
    with_pan = await clerk.post(f"{url}/documents", json={"type": "pan", "number": pan()})
    await clerk.post(f"{url}/documents/{with_pan.json()['documents'][0]['id']}/verify")
    await clerk.post(f"{url}/suspend", json={"reason": "court order"})
    after = await ask(asking, customer["id"])

    assert (before.status, before.kyc, before.risk) == ("active", "pending", "low")
    assert (after.status, after.kyc, after.name) == ("suspended", "verified", "Asha Rao")


async def test_nobody_has_no_standing(asking):
    with pytest.raises(RemoteRefusal) as refused:
        await ask(asking, some_id())

    assert refused.value.code == "no-such-customer"


async def test_standing_is_for_services(served, asking):
    asking.own_token = served.signer.token("asha", "customers.read")

    with pytest.raises(RemoteRefusal) as refused:
        await ask(asking, some_id())

    assert refused.value.code == NotPermitted.code
