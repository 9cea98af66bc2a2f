import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cbs.customers.main import CustomersSettings, build
from cbs.customers.service import DECLARATION
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


@pytest.fixture
async def served(service, signer) -> AsyncIterator[Served]:
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


@pytest.fixture
async def facts(served):
    """The facts told so far: names and data in order, read from the outbox."""

    async def told() -> list[tuple[str, bytes]]:
        outbox = served.service.runtime.outbox
        return [
            (subject.rsplit(".")[-1], body) for _, subject, body in await outbox.after(0, limit=256)
        ]

    return told
