"""Whatever breaks at whichever statement: a payment is one, and is listed once."""

import pytest

from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.payments.refusals import BOOK, OF_THE_PLATFORM, Both
from tests.refusals import GRANTED, Send


@pytest.fixture
def bench(statements: Statements, both: Both) -> Bench:  # noqa: F811
    return Bench.of(statements, both.payments, both.ledger)


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(bench: Bench, both: Both, operation: str):
    await bench.prove(BOOK[operation], both)


@pytest.mark.parametrize("operation", changing(OF_THE_PLATFORM))
async def test_nor_in_what_every_service_does(bench: Bench, both: Both, operation: str):
    await bench.prove(OF_THE_PLATFORM[operation], both.payments)


async def test_nor_while_it_hears(bench: Bench, both: Both):
    [ledger] = both.payments.service.consumers
    await ledger.inbox.begin("ledger")

    async def hear(send: Send) -> str:
        await both.book.fund("INR-FEES", 1)
        heard = await ledger.inbox.heard("ledger")
        facts = await both.ledger.service.runtime.outbox.after(heard, limit=9)

        async def ask() -> bool:
            await ledger.hear([body for _, _, body in facts])
            return True

        await send(ask, bool)
        assert await ledger.inbox.heard("ledger") == facts[-1][0]
        return GRANTED

    assert await bench.prove_asking(hear) > 3
