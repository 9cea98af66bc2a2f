"""A small bank in this process, with a day's business done, kept as databases to copy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cbs.accounts.main import build as build_accounts
from cbs.accounts.service import DECLARATION as ACCOUNTS
from cbs.audit.main import build as build_audit
from cbs.audit.service import DECLARATION as AUDIT
from cbs.customers.main import CustomersSettings
from cbs.customers.main import build as build_customers
from cbs.customers.service import DECLARATION as CUSTOMERS
from cbs.kernel.account_number import account_number
from cbs.ledger.main import build as build_ledger
from cbs.ledger.service import DECLARATION as LEDGER
from cbs.payments.main import build as build_payments
from cbs.payments.service import DECLARATION as PAYMENTS
from cbs.platform.settings import Settings
from cbs.tools.ops.verify.snapshots import DatabasePlace
from cbs.tools.ops.verify.verify import Finding, findings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer

BUILDS: Mapping[str, Any] = {
    "ledger": (LEDGER, build_ledger),
    "customers": (CUSTOMERS, build_customers),
    "accounts": (ACCOUNTS, build_accounts),
    "payments": (PAYMENTS, build_payments),
    "audit": (AUDIT, build_audit),
}
# In the order in which they are opened.
ANN, BOB, EVA = (account_number(branch=1, serial=serial) for serial in (1, 2, 3))
OPERATOR = (
    *("ledger.read", "ledger.post", "ledger.import", "ledger.accounts"),
    *("payments.transfer", "payments.cash"),
    *("accounts.read", "accounts.write", "accounts.freeze", "accounts.products"),
    *("customers.read", "customers.write", "customers.verify"),
)
CATCH_UP_SECONDS_MAX = 60


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The databases of the services, and the services while they are served."""

    databases: Mapping[str, Database]
    served: Mapping[str, Served]

    async def post(
        self, kind: str, payer: str, payee: str, minor: int, **more: Any
    ) -> httpx.Response:
        async with self.served["ledger"].client("olga", *OPERATOR) as olga:
            legs = [
                {"account": payer, "amount_minor": -minor},
                {"account": payee, "amount_minor": minor},
            ]
            wanted = {"kind": kind, "currency": "INR", "legs": legs, **more}
            return await olga.post("/v1/ledger/transactions", json=wanted)

    async def change(self, path: str, **wanted: Any) -> httpx.Response:
        async with self.served["accounts"].client("olga", *OPERATOR) as olga:
            return await olga.post(f"/v1/accounts{path}", json=wanted)

    async def register(self, name: str, number: str) -> str:
        """Returns the id of a new customer, who has this mobile number and this passport."""
        passport = {"type": "passport", "issuer": "IN", "number": f"P{number}"}
        person = {
            "given_name": name,
            "date_of_birth": "1980-02-29",
            "mobile": f"+9198{number}",
            "address": {"lines": ["1"], "city": "Pune", "state": "MH", "postal_code": "411001"},
            "documents": [passport | {"expires_on": "2099-12-31"}],
        }
        async with self.served["customers"].client("olga", *OPERATOR) as olga:
            registered = await olga.post("/v1/customers", json=person)
        assert registered.status_code == 201, registered.text
        return str(registered.json()["id"])

    async def open(self, product: str, name: str, number: str, **more: Any) -> str:
        """Returns the id of a new account of a new customer."""
        customer_id = await self.register(name, number)
        of_customer = f"/v1/customers/{customer_id}"
        async with self.served["customers"].client("olga", *OPERATOR) as olga:
            (document,) = (await olga.get(of_customer)).json()["documents"]
            verified = await olga.post(f"{of_customer}/documents/{document['id']}/verify")
        assert verified.status_code == 200, verified.text
        opened = await self.change("", customer_id=customer_id, product=product, **more)
        assert opened.status_code == 201, opened.text
        return str(opened.json()["id"])

    async def caught_up(self) -> None:
        """Returns when everybody has heard what was said until now."""
        async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
            for listener, served in self.served.items():
                for source in set(BUILDS[listener][0].hears) & set(BUILDS):
                    said = await self.served[source].service.runtime.outbox.head()
                    inbox = served.service.runtime.inbox
                    while await inbox.heard(source) < said:  # noqa: ASYNC110 (nobody tells)
                        await asyncio.sleep(0.05)


@asynccontextmanager
async def working(
    databases: Mapping[str, Database], *, nats_url: str, folder: Path
) -> AsyncIterator[Bank]:
    """The services on these databases, started."""
    signer = Signer()
    async with AsyncExitStack() as stack:
        served = {}
        for service, (connections, build) in BUILDS.items():
            settings: dict[str, Any] = {}
            if service == "customers":
                settings["vault_key_file"] = folder / "vault.key"
                settings["vault_key_file"].write_text("5a" * 32)
            described_service = described(
                connections,
                CustomersSettings if service == "customers" else Settings,
                build,
                database=databases[service],
                nats_url=nats_url,
                folder=folder,
                signer=signer,
                **settings,
            )
            served[service] = await stack.enter_async_context(serving(described_service, signer))
        yield Bank(databases=databases, served=served)


async def business(bank: Bank) -> None:
    """Something of everything that the checks look at."""
    for service, served in bank.served.items():
        async with served.client("mallory") as mallory:
            entrance = BUILDS[service][0].entrance
            assert (await mallory.get(entrance)).status_code == 403
    async with bank.served["ledger"].client("olga", *OPERATOR) as olga:
        till = {"name": "TILL-1", "currency": "INR", "ceiling_minor": 0}
        assert (await olga.post("/v1/ledger/accounts", json=till)).status_code == 201
    async with bank.served["accounts"].client("olga", *OPERATOR) as olga:
        student = {"code": "STUDENT-INR", "name": "Student", "kind": "savings", "currency": "INR"}
        assert (await olga.post("/v1/accounts/products", json=student)).status_code == 201
    ann = await bank.open("SAVINGS-INR", "Ann", "76543210")
    await bank.open("CURRENT-INR", "Bob", "76543211", overdraft_minor=5_000)
    eva = await bank.open("SAVINGS-INR", "Eva", "76543212")
    await _suspended_with_a_frozen_account(bank)
    unknown = await bank.register("Max", "76543213")
    refused = await bank.change("", customer_id=unknown, product="SAVINGS-INR")
    assert refused.status_code == 409, refused.text
    frozen = await bank.change(f"/{ann}/freeze", scope="debits", reason="a call")
    thawed = await bank.change(f"/{ann}/unfreeze", reason="a mistake")
    closed = await bank.change(f"/{eva}/close", reason="moved away")
    assert [each.status_code for each in (frozen, thawed, closed)] == [200, 200, 200]
    expected = [
        (await bank.post("cash-deposit", "INR-CASH", ANN, 50_000), 201),
        (await bank.post("transfer", ANN, BOB, 10_000), 201),
        (await bank.post("transfer", ANN, BOB, 2_500), 201),
        (await bank.post("transfer", BOB, ANN, 14_000), 201),
        (await bank.post("transfer", BOB, ANN, 14_000), 409),
        (await bank.post("cash-withdrawal", ANN, "INR-CASH", 1_000), 201),
        (await bank.post("interest", "INR-INTEREST", BOB, 33, value_on="2020-02-29"), 201),
    ]
    for answer, status in expected:
        assert answer.status_code == status, answer.text
    await bank.caught_up()


async def verified(
    databases: Mapping[str, Database], *, fence_seconds_max: float = 10, **more: Any
) -> list[Finding]:
    places = {service: DatabasePlace(url=each.verify_url) for service, each in databases.items()}
    return await findings(
        places,
        say=lambda _: None,
        tell=lambda _: None,
        fence_seconds_max=fence_seconds_max,
        may_lose=True,
        **more,
    )


def broken(found: list[Finding]) -> dict[str, Finding]:
    """`<service>/<check>` -> what does not hold."""
    return {f"{f.service}/{f.check}": f for f in found if f.outcome != "holds"}


async def _suspended_with_a_frozen_account(bank: Bank) -> None:
    dan = await bank.open("SAVINGS-INR", "Dan", "76543214")
    frozen = await bank.change(
        f"/{dan}/freeze", scope="all", reason="an order", authority="a court", until="2099-12-31"
    )
    assert frozen.status_code == 200, frozen.text
    customer_id = frozen.json()["customer_id"]
    async with bank.served["customers"].client("olga", *OPERATOR) as olga:
        suspend = f"/v1/customers/{customer_id}/suspend"
        suspended = await olga.post(suspend, json={"reason": "is looked into"})
    assert suspended.status_code == 200, suspended.text
