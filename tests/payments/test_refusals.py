"""Each refusal of payments is reached, and comes in its order."""

import pytest

from tests.payments.refusals import BOOK, OF_THE_PLATFORM, Both
from tests.refusals import documented, ruled


def test_the_rule_book_is_what_the_contracts_say(a_service):
    assert ruled(BOOK | OF_THE_PLATFORM) == documented(a_service("payments"))


@pytest.mark.parametrize("operation", BOOK)
async def test_refusals_come_in_the_order_of_the_book(both: Both, operation: str):
    await BOOK[operation].prove(both)


@pytest.mark.parametrize("operation", OF_THE_PLATFORM)
async def test_so_do_those_of_every_service(both: Both, operation: str):
    await OF_THE_PLATFORM[operation].prove(both.payments)
