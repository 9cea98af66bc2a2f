from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cbs.ledger.main import build
from cbs.ledger.service import DECLARATION
from cbs.platform.service import Service
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer

OPERATOR = ("ledger.read", "ledger.accounts", "ledger.post", "ledger.backdate")


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def described_ledger(
    database: Callable[[str], Database], nats_url: str, tmp_path: Path, signer: Signer
) -> Service:
    """The ledger, with nobody else on its bus, not yet started."""
    return described(
        DECLARATION,
        Settings,
        build,
        database=database("ledger"),
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
    )


@pytest.fixture
async def ledger(described_ledger: Service, signer: Signer) -> AsyncIterator[Served]:
    async with serving(described_ledger, signer) as served:
        yield served
