"""Whatever breaks at whichever statement, here or in the ledger: a change of an account is one."""

import pytest

from tests.accounts.conftest import Bank
from tests.accounts.refusals import BOOK, OF_THE_PLATFORM
from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401


@pytest.fixture
def bench(statements: Statements, bank: Bank) -> Bench:  # noqa: F811
    return Bench.of(statements, bank.accounts, bank.ledger)


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(bench: Bench, bank: Bank, operation: str):
    await bench.prove(BOOK[operation], bank)


@pytest.mark.parametrize("operation", changing(OF_THE_PLATFORM))
async def test_nor_in_what_every_service_does(bench: Bench, bank: Bank, operation: str):
    await bench.prove(OF_THE_PLATFORM[operation], bank.accounts)
