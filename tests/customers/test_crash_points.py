"""Whatever breaks at whichever statement: what customers is asked for has one effect."""

import pytest

from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.customers.refusals import BOOK
from tests.customers.test_expiry import expiry, verified
from tests.refusals import GRANTED, Send
from tests.serving import Served


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(
    statements: Statements,  # noqa: F811
    served: Served,
    operation: str,
):
    await Bench.of(statements, served).prove(BOOK[operation], served)


async def test_nor_while_a_verification_expires(
    statements: Statements,  # noqa: F811
    served: Served,
    clerk,
):
    later = expiry(served.service.runtime, days=4)

    async def expire(send: Send) -> str:
        await verified(clerk)

        async def ask() -> bool:
            await later.look()
            return True

        await send(ask, bool)
        return GRANTED

    assert await Bench.of(statements, served).prove_asking(expire) > 5
