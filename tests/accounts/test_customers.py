"""The real customers on the same bus: what this service reads of a standing is what they say."""

from tests.accounts.conftest import TELLER
from tests.serving import serving

CLERK = ("customers.read", "customers.write", "customers.verify")
ASHA = {
    "given_name": "Asha",
    "date_of_birth": "1990-04-01",
    "mobile": "+919876543210",
    "address": {
        "lines": ["12 MG Road"],
        "city": "Pune",
        "state": "Maharashtra",
        "postal_code": "411001",
    },
    "documents": [{"type": "pan", "number": "ABCPE1234K"}],
}


async def test_an_account_is_opened_once_its_customer_is_verified(services, signer):
    customers_service, ledger_service, accounts_service = services
    async with (
        serving(customers_service, signer) as customers,
        serving(ledger_service, signer),
        serving(accounts_service, signer) as accounts,
        customers.client("chitra", *CLERK) as clerk,
        accounts.client("tara", *TELLER) as teller,
    ):
        asha = (await clerk.post("/v1/customers", json=ASHA)).json()
        body = {"customer_id": asha["id"], "product": "SAVINGS-INR"}
        nobody = {**body, "customer_id": "00000000-0000-7000-8000-000000000000"}

        early = await teller.post("/v1/accounts", json=body)
        strange = await teller.post("/v1/accounts", json=nobody)
        paper = f"/v1/customers/{asha['id']}/documents/{asha['documents'][0]['id']}"
        verified = await clerk.post(f"{paper}/verify")
        opened = await teller.post("/v1/accounts", json=body)
        suspended = await clerk.post(
            f"/v1/customers/{asha['id']}/suspend", json={"reason": "fraud alert"}
        )
        late = await teller.post("/v1/accounts", json=body)

    assert early.json()["type"] == "urn:cbs:customer-not-verified"
    assert (strange.status_code, strange.json()["type"]) == (404, "urn:cbs:no-such-customer")
    assert (verified.status_code, opened.status_code) == (200, 201), opened.text
    assert (suspended.status_code, late.json()["type"]) == (200, "urn:cbs:customer-not-active")
