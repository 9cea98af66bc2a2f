"""Whatever breaks at whichever statement: what audit is asked for, and hears, has one effect."""

from dataclasses import replace

import pytest

from tests.audit.facts import fact
from tests.audit.refusals import BOOK
from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.refusals import GRANTED, Send
from tests.serving import Served


@pytest.fixture
def bench(statements: Statements, served: Served) -> Bench:  # noqa: F811
    bench = Bench.of(statements, served)
    # How many nodes a leaf completes depends on its place.
    return replace(bench, uncounted=("audit.audit_node",))


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(bench: Bench, served: Served, operation: str):
    await bench.prove(BOOK[operation], served)


async def test_nor_does_one_while_it_hears(bench: Bench, served: Served):
    [ledger] = [each for each in served.service.consumers if each.source == "ledger"]
    await ledger.inbox.begin("ledger")

    async def hear(send: Send) -> str:
        heard = await ledger.inbox.heard("ledger")
        facts = [fact(position=heard + n) for n in (1, 2, 3)]

        async def ask() -> bool:
            await ledger.hear(facts)
            return True

        await send(ask, bool)
        assert await ledger.inbox.heard("ledger") == heard + 3
        return GRANTED

    assert await bench.prove_asking(hear) > 5
