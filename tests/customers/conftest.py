import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cbs.customers.domain.standing import CustomerHasAccounts
from cbs.customers.main import CustomersSettings, build
from cbs.customers.service import DECLARATION
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.service import Service
from tests.serving import Served, described, serving
from tests.signing import Signer

CLERK = ("customers.read", "customers.write", "customers.verify")


@pytest.fixture
def vault_key(tmp_path: Path) -> Path:
    file = tmp_path / "vault.key"
    file.write_text(secrets.token_hex(32) + "\n")
    return file


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def service(database, nats_url, tmp_path, vault_key, signer) -> Service:
    return described(
        DECLARATION,
        CustomersSettings,
        build,
        database=database("customers"),
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
        vault_key_file=vault_key,
    )


class Told(msgspec.Struct):
    customer_id: UUID
    version: int
    standing: str


# Customers who have an account that is not closed.
HAVE_ACCOUNTS: set[UUID] = set()


@dataclass
class Accounts:
    """Answers `accounts.set-standing`, and keeps what it was told."""

    told: list[Told] = field(default_factory=list)

    async def set_standing(self, told: Told, _key: str) -> Any:
        if told.standing == "closed" and told.customer_id in HAVE_ACCOUNTS:
            raise CustomerHasAccounts
        self.told.append(told)
        return {"version": told.version}

    def endpoint(self) -> Endpoint[Told]:
        return Endpoint(
            verb="set-standing",
            takes=Told,
            gives=dict,
            handle=self.set_standing,
            permission="internal",
        )


@pytest.fixture
async def accounts(service: Service, nats_url: str) -> AsyncIterator[Accounts]:
    accounts = Accounts()
    bus = Bus(service="accounts", tokens=service.runtime.tokens)
    await bus.open(url=nats_url, nkey_file=None)
    await bus.serve(accounts.endpoint())
    yield accounts
    await bus.leave()
    await bus.close()


@pytest.fixture
async def served(service, signer, accounts) -> AsyncIterator[Served]:
    async with serving(service, signer) as served:
        yield served


@pytest.fixture
async def clerk(served):
    """A teller who may register and verify."""
    async with served.client("asha.teller", *CLERK) as client:
        yield client


@pytest.fixture
async def importer(served):
    async with served.client("migration", *CLERK, "customers.import") as client:
        yield client


# These tell what is kept, and not what has happened.
OF_ROWS = {"request-answered", "customer-recorded"}


@pytest.fixture
async def facts(served):
    """The facts told of customers so far: names and data in order, read from the outbox."""

    async def told() -> list[tuple[str, bytes]]:
        outbox = served.service.runtime.outbox
        told = [
            (subject.rsplit(".")[-1], body) for _, subject, body in await outbox.after(0, limit=256)
        ]
        return [(name, body) for name, body in told if name not in OF_ROWS]

    return told
