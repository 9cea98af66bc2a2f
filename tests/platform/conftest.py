from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cbs.ledger.service import DECLARATION
from cbs.platform.service import Runtime
from tests.stores import BOTH, runtime_on, url_of


@asynccontextmanager
async def begun_on(url: str | None) -> AsyncIterator[Runtime[Any]]:
    """What the platform keeps, of a ledger that has begun to hear itself: how far it has come is
    something to change."""
    async with runtime_on(DECLARATION, url) as runtime:
        await runtime.inbox.begin("ledger")
        yield runtime


@pytest.fixture(params=BOTH)
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime[Any]]:
    async with begun_on(url_of(request, "ledger")) as runtime:
        yield runtime
