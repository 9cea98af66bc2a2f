"""The stages are those of the services' own tests."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cbs.platform.service import Runtime
from tests.accounts.conftest import (  # noqa: F401
    accounts,
    accounts_service,
    customers,
    describe,
    ledger_service,
)
from tests.accounts.conftest import bank as desk  # noqa: F401
from tests.conftest import Database as Place
from tests.ledger.conftest import described_ledger, ledger  # noqa: F401
from tests.ledger.test_book import ALICE, BOB, Opened, book_on
from tests.ledger.test_races import instances  # noqa: F401
from tests.payments.conftest import a_service, bank, both, place, signer  # noqa: F401
from tests.platform.conftest import begun_on
from tests.platform.test_facts import house  # noqa: F401

pytest.register_assert_rewrite("tests.bugs.scenarios", "tests.bugs.on_the_way")


@pytest.fixture
async def book(database: Callable[[str], Place]) -> AsyncIterator[Opened]:
    """A book in PostgreSQL in which Alice holds 100 and Bob nothing."""
    async with book_on(database("ledger").runtime_url) as opened:
        await opened.set(ALICE)
        await opened.set(BOB)
        await opened.fund(ALICE, 100)
        yield opened


@pytest.fixture
def nobody() -> None:
    """The domain needs no stage."""


@pytest.fixture
async def requests(database: Callable[[str], Place]) -> AsyncIterator[Runtime[Any]]:
    async with begun_on(database("ledger").runtime_url) as runtime:
        yield runtime


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> object:
    """The fixture that a parameter names."""
    return request.getfixturevalue(request.param)
