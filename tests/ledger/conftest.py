from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cbs.ledger.connections import CONNECTIONS
from cbs.ledger.main import build
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer

OPERATOR = ("ledger.read", "ledger.accounts", "ledger.post", "ledger.backdate")


@pytest.fixture
async def ledger(
    database: Callable[[str], Database], nats_url: str, tmp_path: Path
) -> AsyncIterator[Served]:
    """The ledger, started, with nobody else on its bus."""
    signer = Signer()
    service = described(
        CONNECTIONS,
        Settings,
        build,
        database=database("ledger"),
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
    )
    async with serving(service, signer) as served:
        yield served
