from collections.abc import AsyncIterator, Callable

import pytest

from cbs.audit.main import build
from cbs.audit.service import DECLARATION
from cbs.platform.service import Service
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def place(database: Callable[[str], Database]) -> Database:
    return database("audit")


@pytest.fixture
def service(place, nats_url, tmp_path, signer) -> Service:
    return described(
        DECLARATION,
        Settings,
        build,
        database=place,
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
    )


@pytest.fixture
async def served(service, signer) -> AsyncIterator[Served]:
    async with serving(service, signer) as served:
        yield served
