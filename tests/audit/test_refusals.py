"""Each refusal of audit is reached, and comes in its order."""

import pytest

from cbs.audit.store import PostgresLog
from tests.audit.facts import NOON, record
from tests.audit.refusals import BOOK, TREE_SIZE
from tests.refusals import documented, ruled
from tests.serving import Served


@pytest.fixture
async def log(served: Served) -> Served:
    database = served.service.runtime.postgres
    records = [record(position=place) for place in range(1, TREE_SIZE + 1)]
    async with database.transaction():
        await PostgresLog(database=database).append(records, at=NOON)
    return served


def test_the_rule_book_is_what_the_contracts_say(service):
    assert ruled(BOOK) == documented(service)


@pytest.mark.parametrize("operation", BOOK)
async def test_refusals_come_in_the_order_of_the_book(log: Served, operation: str):
    await BOOK[operation].prove(log)
