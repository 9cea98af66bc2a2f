"""Whatever breaks at whichever statement: what customers is asked for has one effect."""

import pytest

from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.customers.refusals import BOOK
from tests.serving import Served


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(
    statements: Statements,  # noqa: F811
    served: Served,
    operation: str,
):
    await Bench.of(statements, served).prove(BOOK[operation], served)
