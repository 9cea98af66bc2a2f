"""One suite for the fake and for PostgreSQL."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from cbs.kernel.account_number import account_number
from cbs.kernel.money import Currency
from cbs.payments.application.payments import Listed
from cbs.payments.domain.transfer import Kind, Transfer
from cbs.payments.main import in_postgres
from cbs.payments.memory import in_memory
from cbs.payments.service import DECLARATION
from cbs.platform.context import new_id
from tests.stores import BOTH, made_on, runtime_on, url_of

ASHA, RAVI, ZOE = (account_number(branch=1, serial=serial) for serial in (1, 2, 3))
EVER = 2**62


@pytest.fixture(params=BOTH)
async def runtime(request):
    async with runtime_on(DECLARATION, url_of(request, "payments")) as runtime:
        yield runtime


@pytest.fixture
def transfers(runtime):
    return made_on(runtime, in_memory, in_postgres)


@pytest.fixture
def add(runtime, transfers):
    """As the consumer does it."""

    async def added(heard):
        async with runtime.database.transaction():
            await transfers.add(heard)

    return added


def listed(position: int, remitter: str = ASHA, beneficiary: str = RAVI, **changed) -> Listed:
    transfer = Transfer(
        id=new_id(),
        kind=Kind.TRANSFER,
        remitter_account=remitter,
        beneficiary_account=beneficiary,
        amount_minor=position,
        currency=Currency.INR,
        narrative="हिन्दी",
        booked_on=date(2026, 11, 23),
        value_on=date(2026, 11, 20),
        booked_at=datetime(2026, 11, 23, 9, 30, 1, 123456, tzinfo=UTC),
    )
    return Listed(position=position, transfer=replace(transfer, **changed))


async def test_what_was_added_is_found_as_it_was(transfers, add):
    cash = listed(2, remitter="AED-CASH", kind=Kind.CASH_DEPOSIT, currency=Currency.AED)
    await add([listed(1), cash])

    assert await transfers.find(cash.transfer.id) == cash.transfer
    assert await transfers.find(new_id()) is None


async def test_what_is_kept_stays_as_it_is(transfers, add):
    first, second = listed(1), listed(2)
    await add([first])

    await add([replace(first, transfer=replace(first.transfer, narrative="x")), second])

    assert await transfers.before(EVER, account=None, limit=9) == [second, first]


async def test_the_list_is_newest_first_and_goes_on_before_a_position(transfers, add):
    heard = [listed(position) for position in (3, 5, 8, 13)]
    await add(heard)

    assert await transfers.before(EVER, account=None, limit=2) == [heard[3], heard[2]]
    assert await transfers.before(8, account=None, limit=2) == [heard[1], heard[0]]
    assert await transfers.before(3, account=None, limit=2) == []


async def test_the_list_of_an_account_has_both_its_sides(transfers, add):
    heard = [
        listed(1, ASHA, RAVI),
        listed(2, RAVI, ZOE),
        listed(3, ZOE, ASHA),
        listed(4, RAVI, ASHA),
    ]
    await add(heard)

    assert await transfers.before(EVER, account=ASHA, limit=2) == [heard[3], heard[2]]
    assert await transfers.before(3, account=ASHA, limit=2) == [heard[0]]
    assert await transfers.before(EVER, account=ZOE, limit=9) == [heard[2], heard[1]]
