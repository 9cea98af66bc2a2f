"""Whatever breaks at whichever statement: what the ledger is asked for has one effect."""

import pytest

from tests.crash_points import Bench, Statements, statements  # noqa: F401
from tests.ledger.refusals import BOOK
from tests.serving import Served


@pytest.fixture
def bench(statements: Statements, ledger: Served) -> Bench:  # noqa: F811
    return Bench(statements, [ledger.service])


@pytest.mark.parametrize("operation", BOOK)
async def test_a_broken_statement_costs_nothing(bench: Bench, ledger: Served, operation: str):
    await bench.prove(BOOK[operation], ledger)
