"""A small bank in this process, with a day's business done, kept as databases to copy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from cbs.accounts.main import build as build_accounts
from cbs.accounts.service import DECLARATION as ACCOUNTS
from cbs.audit.main import build as build_audit
from cbs.audit.service import DECLARATION as AUDIT
from cbs.kernel.account_number import account_number
from cbs.ledger.main import build as build_ledger
from cbs.ledger.service import DECLARATION as LEDGER
from cbs.payments.main import build as build_payments
from cbs.payments.service import DECLARATION as PAYMENTS
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.settings import Settings
from cbs.tools.ops.verify.snapshots import DatabasePlace
from cbs.tools.ops.verify.verify import Finding, findings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer

BUILDS: Mapping[str, Any] = {
    "ledger": (LEDGER, build_ledger),
    "accounts": (ACCOUNTS, build_accounts),
    "payments": (PAYMENTS, build_payments),
    "audit": (AUDIT, build_audit),
}
# In the order in which they are opened.
ANN, BOB, EVA = (account_number(branch=1, serial=serial) for serial in (1, 2, 3))
NOBODY = UUID(int=404)
OPERATOR = (
    *("ledger.read", "ledger.post", "ledger.import", "payments.transfer", "payments.cash"),
    *("accounts.read", "accounts.write", "accounts.freeze"),
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

    async def open(self, product: str, **more: Any) -> str:
        """Returns the new account's id."""
        opened = await self.change("", customer_id=str(uuid4()), product=product, **more)
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
            described_service = described(
                connections,
                Settings,
                build,
                database=databases[service],
                nats_url=nats_url,
                folder=folder,
                signer=signer,
            )
            served[service] = await stack.enter_async_context(serving(described_service, signer))
            if service == "ledger":
                await stack.enter_async_context(customers(served[service], nats_url))
        yield Bank(databases=databases, served=served)


class Asked(msgspec.Struct):
    customer_id: UUID


@asynccontextmanager
async def customers(beside: Served, nats_url: str) -> AsyncIterator[None]:
    """Answers for a service that is not under test here: everybody but NOBODY is verified."""

    async def standing(asked: Asked, _key: str) -> dict[str, str]:
        kyc = "pending" if asked.customer_id == NOBODY else "verified"
        return {"customer_id": str(asked.customer_id), "status": "active", "kyc": kyc}

    bus = Bus(service="customers", tokens=beside.service.runtime.tokens)
    await bus.open(url=nats_url, nkey_file=None)
    try:
        await bus.serve(
            Endpoint(
                verb="standing", takes=Asked, gives=dict, handle=standing, permission="internal"
            )
        )
        yield
    finally:
        await bus.leave()
        await bus.close()


async def business(bank: Bank) -> None:
    """Something of everything that the checks look at."""
    ann = await bank.open("SAVINGS-INR")
    await bank.open("CURRENT-INR", overdraft_minor=5_000)
    eva = await bank.open("SAVINGS-INR")
    refused = await bank.change("", customer_id=str(NOBODY), product="SAVINGS-INR")
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
    databases: Mapping[str, Database], *, fence_seconds_max: float = 10
) -> list[Finding]:
    places = {service: DatabasePlace(url=each.verify_url) for service, each in databases.items()}
    return await findings(
        places,
        say=lambda _: None,
        tell=lambda _: None,
        fence_seconds_max=fence_seconds_max,
        may_lose=True,
    )


def broken(found: list[Finding]) -> dict[str, Finding]:
    """`<service>/<check>` -> what does not hold."""
    return {f"{f.service}/{f.check}": f for f in found if f.outcome != "holds"}
