"""Whatever breaks at whichever statement: what the ledger is asked for has one effect."""

import pytest

from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.ledger.refusals import BOOK
from tests.serving import Served


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(
    statements: Statements,  # noqa: F811
    ledger: Served,
    operation: str,
):
    await Bench.of(statements, ledger).prove(BOOK[operation], ledger)
