import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from cbs.accounts.domain.account import NoSuchCustomer
from cbs.accounts.main import build
from cbs.accounts.service import DECLARATION
from cbs.customers.main import CustomersSettings
from cbs.customers.main import build as build_customers
from cbs.customers.service import DECLARATION as CUSTOMERS
from cbs.ledger.main import build as build_ledger
from cbs.ledger.service import DECLARATION as LEDGER
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.saga import Sagas
from cbs.platform.service import Service
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.refusals import Asked as Asking
from tests.refusals import on_the_bus
from tests.serving import Served, described, serving
from tests.signing import Signer

TELLER = ("accounts.read", "accounts.write", "accounts.freeze", "accounts.products")


class Asked(msgspec.Struct):
    customer_id: UUID


@dataclass
class Customers:
    """Answers `customers.standing` with what a test says; whoever it does not know is fine."""

    known: dict[UUID, dict[str, str]] = field(default_factory=dict)
    missing: set[UUID] = field(default_factory=set)

    async def standing(self, asked: Asked, _key: str) -> Any:
        if asked.customer_id in self.missing:
            raise NoSuchCustomer
        return {"status": "active", "kyc": "verified", **self.known.get(asked.customer_id, {})}

    def endpoint(self) -> Endpoint[Asked]:
        return Endpoint(
            verb="standing", takes=Asked, gives=dict, handle=self.standing, permission="internal"
        )


@dataclass(frozen=True)
class Bank:
    """Accounts and the ledger, as a teller and a test reach them."""

    accounts: Served
    ledger: Served
    customers: Customers
    teller: httpx.AsyncClient

    @property
    def sagas(self) -> Sagas:
        sagas = self.accounts.service.spec.provide["sagas"]
        assert isinstance(sagas, Sagas)
        return sagas

    async def opened(self, **wanted: Any) -> dict[str, Any]:
        body = {"customer_id": str(uuid4()), "product": "CURRENT-INR", **wanted}
        answer = await self.teller.post("/v1/accounts", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def change(self, account: dict[str, Any], what: str, **body: Any) -> httpx.Response:
        if what != "limits":
            body = {"reason": "court order 7/2026", **body}
        return await self.teller.post(f"/v1/accounts/{account['id']}/{what}", json=body)

    async def pay(self, account: dict[str, Any], amount_minor: int, **more: Any) -> httpx.Response:
        """A transfer at the ledger, over its bus's own way in: cash for the account."""
        legs = [
            {"account": "INR-CASH", "amount_minor": -amount_minor},
            {"account": account["number"], "amount_minor": amount_minor},
        ]
        order = {"kind": "transfer", "currency": "INR", "legs": legs, **more}
        permissions = ("ledger.post", "ledger.backdate", "payments.transfer")
        async with self.ledger.client("paul", *permissions) as paul:
            return await paul.post("/v1/ledger/transactions", json=order)

    async def set_standing(self, customer_id: str, standing: str, version: int = 1) -> str:
        """As customers does; the code of the refusal, or GRANTED."""
        wanted = {"customer_id": customer_id, "version": version, "standing": standing}
        return await on_the_bus(self.accounts, "set-standing", Asking(), wanted)

    async def in_the_book(self, account: dict[str, Any]) -> dict[str, Any]:
        async with self.ledger.client("olga", "ledger.read") as olga:
            found = await olga.get(f"/v1/ledger/accounts/{account['number']}")
        assert found.status_code == 200, found.text
        return dict(found.json())

    async def chart(self) -> list[dict[str, Any]]:
        """The customers' accounts in the book."""
        async with self.ledger.client("olga", "ledger.read") as olga:
            page = (await olga.get("/v1/ledger/accounts?limit=200")).json()
        return [each for each in page["items"] if each["kind"] == "customer"]

    async def run_out_leases(self) -> None:
        """As if the time of every lease had passed."""
        await self.accounts.service.runtime.postgres.execute(
            "UPDATE saga SET lease_until = clock_timestamp() - interval '1 s' WHERE step <> 'done'"
        )


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def describe(
    database: Callable[[str], Database], nats_url: str, tmp_path: Path, signer: Signer
) -> Callable[[Any, Any], Service]:
    def of(connections: Any, build: Any) -> Service:
        return described(
            connections,
            Settings,
            build,
            database=database(connections.service),
            nats_url=nats_url,
            folder=tmp_path,
            signer=signer,
        )

    return of


@pytest.fixture
def ledger_service(describe: Callable[[Any, Any], Service]) -> Service:
    return describe(LEDGER, build_ledger)


@pytest.fixture
def accounts_service(describe: Callable[[Any, Any], Service]) -> Service:
    return describe(DECLARATION, build)


@pytest.fixture
async def customers(
    accounts_service: Service, nats_url: str, signer: Signer
) -> AsyncIterator[Customers]:
    customers = Customers()
    bus = Bus(service="customers", tokens=accounts_service.runtime.tokens)
    await bus.open(url=nats_url, nkey_file=None)
    await bus.serve(customers.endpoint())
    yield customers
    await bus.leave()
    await bus.close()


@pytest.fixture
async def accounts(
    accounts_service: Service, customers: Customers, signer: Signer
) -> AsyncIterator[Served]:
    async with serving(accounts_service, signer) as served:
        yield served


@pytest.fixture
async def bank(
    accounts: Served, ledger_service: Service, customers: Customers, signer: Signer
) -> AsyncIterator[Bank]:
    async with (
        serving(ledger_service, signer) as ledger,
        accounts.client("tara", *TELLER) as teller,
    ):
        yield Bank(accounts=accounts, ledger=ledger, customers=customers, teller=teller)


@pytest.fixture
def services(
    database: Callable[[str], Database], nats_url: str, tmp_path: Path, signer: Signer
) -> list[Service]:
    """The real customers, ledger and accounts, in this order."""
    vault_key = tmp_path / "vault.key"
    vault_key.write_text(secrets.token_hex(32))
    of: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        (CUSTOMERS, CustomersSettings, build_customers, {"vault_key_file": vault_key}),
        (LEDGER, Settings, build_ledger, {}),
        (DECLARATION, Settings, build, {}),
    ]
    return [
        described(
            connections,
            settings,
            built,
            database=database(connections.service),
            nats_url=nats_url,
            folder=tmp_path,
            signer=signer,
            **more,
        )
        for connections, settings, built, more in of
    ]
