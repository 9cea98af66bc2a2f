"""A small bank in this process, with a day's business done, kept as databases to copy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from cbs.audit.connections import CONNECTIONS as AUDIT
from cbs.audit.main import build as build_audit
from cbs.dev.snapshots import Place
from cbs.dev.verify import Finding, findings
from cbs.ledger.connections import CONNECTIONS as LEDGER
from cbs.ledger.main import build as build_ledger
from cbs.payments.connections import CONNECTIONS as PAYMENTS
from cbs.payments.main import build as build_payments
from cbs.platform.context import Context, within
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer

BUILDS: Mapping[str, Any] = {
    "ledger": (LEDGER, build_ledger),
    "payments": (PAYMENTS, build_payments),
    "audit": (AUDIT, build_audit),
}
ANN, BOB, EVA = "00010000000017", "00010000000025", "00010000000033"
OPERATOR = ("ledger.read", "ledger.post", "ledger.backdate", "payments.transfer", "payments.cash")
CATCH_UP_SECONDS_MAX = 20
HEARD = "SELECT position FROM watermark WHERE source = $1"


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

    async def set_account(self, number: str, *, version: int = 1, **terms: Any) -> None:
        plumbing = self.served["audit"].service.plumbing
        terms |= {"number": number, "kind": "customer", "currency": "INR", "version": version}
        with within(Context(principal=plumbing.principal)):
            await plumbing.bus.call("ledger.set-account", terms, dict, key=uuid4().hex, own=True)

    async def caught_up(self) -> None:
        """Returns when everybody has heard what was said until now."""
        async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
            for listener, served in self.served.items():
                for source in set(BUILDS[listener][0].hears) & set(BUILDS):
                    said = await self.served[source].service.plumbing.outbox.head()
                    heard = served.service.plumbing.database
                    for _ in count():
                        row = await heard.fetchrow(HEARD, source)
                        if row and row["position"] >= said:
                            break
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
        yield Bank(databases=databases, served=served)


async def business(bank: Bank) -> None:
    """Something of everything that the checks look at."""
    await bank.set_account(ANN, limit_per_day_minor=100_000)
    await bank.set_account(BOB, floor_minor=-5_000)
    await bank.set_account(EVA, ceiling_minor=1_000)
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
    await bank.set_account(EVA, version=2, closed=True)
    await bank.caught_up()


async def verified(
    databases: Mapping[str, Database], *, fence_seconds_max: float = 10
) -> list[Finding]:
    places = {service: Place(url=each.verify_url) for service, each in databases.items()}
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
