"""Each refusal of customers is reached, and comes in its order."""

import pytest

from tests.customers.refusals import BOOK
from tests.refusals import documented, ruled
from tests.serving import Served


def test_the_rule_book_is_what_the_contracts_say(service):
    assert ruled(BOOK) == documented(service)


@pytest.mark.parametrize("operation", BOOK)
async def test_refusals_come_in_the_order_of_the_book(served: Served, operation: str):
    await BOOK[operation].prove(served)
