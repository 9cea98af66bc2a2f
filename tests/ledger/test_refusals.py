"""Each refusal of the ledger is reached, and comes in its order."""

import pytest

from tests.ledger.refusals import BOOK
from tests.refusals import documented, ruled
from tests.serving import Served


def test_the_rule_book_is_what_the_contracts_say(described_ledger):
    assert ruled(BOOK) == documented(described_ledger)


@pytest.mark.parametrize("operation", BOOK)
async def test_refusals_come_in_the_order_of_the_book(ledger: Served, operation: str):
    await BOOK[operation].prove(ledger)
