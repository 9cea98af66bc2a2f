from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cbs.ledger import main as ledger_main
from cbs.ledger import service as ledger_connections
from cbs.payments import main as payments_main
from cbs.payments import service as payments_connections
from cbs.platform.declaration import Declaration
from cbs.platform.service import Build, Service
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.payments.bank import Bank, teller
from tests.payments.refusals import Both
from tests.serving import described, serving
from tests.signing import Signer

MODULES: dict[str, tuple[Declaration, Build[Settings]]] = {
    "ledger": (ledger_connections.DECLARATION, ledger_main.build),
    "payments": (payments_connections.DECLARATION, payments_main.build),
}


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def place(database: Callable[[str], Database]) -> dict[str, Database]:
    return {name: database(name) for name in MODULES}


@pytest.fixture
def a_service(
    place: dict[str, Database], nats_url: str, tmp_path: Path, signer: Signer
) -> Callable[[str], Service]:
    """A service's name -> another instance of it, not started."""

    def make(name: str) -> Service:
        connections, build = MODULES[name]
        return described(
            connections,
            Settings,
            build,
            database=place[name],
            nats_url=nats_url,
            folder=tmp_path,
            signer=signer,
        )

    return make


@pytest.fixture
async def bank(a_service: Callable[[str], Service], signer: Signer) -> AsyncIterator[Bank]:
    async with (
        serving(a_service("ledger"), signer),
        serving(a_service("payments"), signer) as payments,
        teller(payments.service, signer) as tilda,
    ):
        yield Bank(payments, tilda)


@pytest.fixture
async def both(a_service: Callable[[str], Service], signer: Signer) -> AsyncIterator[Both]:
    async with (
        serving(a_service("ledger"), signer) as ledger,
        serving(a_service("payments"), signer) as payments,
    ):
        yield Both(payments, ledger)
