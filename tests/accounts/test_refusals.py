"""Each refusal of accounts is reached, and comes in its order."""

import pytest

from tests.accounts.conftest import Bank
from tests.accounts.refusals import BOOK, OF_THE_PLATFORM
from tests.refusals import documented, ruled


def test_the_rule_book_is_what_the_contracts_say(accounts_service):
    assert ruled(BOOK | OF_THE_PLATFORM) == documented(accounts_service)


@pytest.mark.parametrize("operation", BOOK)
async def test_refusals_come_in_the_order_of_the_book(bank: Bank, operation: str):
    await BOOK[operation].prove(bank)


@pytest.mark.parametrize("operation", OF_THE_PLATFORM)
async def test_so_do_those_of_every_service(bank: Bank, operation: str):
    await OF_THE_PLATFORM[operation].prove(bank.accounts)
