"""One suite for the fake and for PostgreSQL."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from cbs.kernel.account_number import account_number
from cbs.kernel.money import Currency
from cbs.payments.application.payments import Listed
from cbs.payments.domain.transfer import Kind, Transfer
from cbs.payments.store import PostgresTransfers
from cbs.payments.tables import TransferRow
from cbs.platform.context import new_id
from cbs.platform.database import Database
from tests.payments.fakes import InMemoryTransfers

ASHA, RAVI, ZOE = (account_number(branch=1, serial=serial) for serial in (1, 2, 3))
EVER = 2**62


@pytest.fixture(params=["memory", "postgres"])
async def transfers(request):
    if request.param == "memory":
        yield InMemoryTransfers()
        return
    engine = Database(request.getfixturevalue("database")("payments").runtime_url)
    engine.bind(TransferRow)
    await engine.open()
    yield PostgresTransfers(database=engine)
    await engine.close()


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


async def test_what_was_added_is_found_as_it_was(transfers):
    cash = listed(2, remitter="AED-CASH", kind=Kind.CASH_DEPOSIT, currency=Currency.AED)
    await transfers.add([listed(1), cash])

    assert await transfers.find(cash.transfer.id) == cash.transfer
    assert await transfers.find(new_id()) is None


async def test_what_is_kept_stays_as_it_is(transfers):
    first, second = listed(1), listed(2)
    await transfers.add([first])

    await transfers.add([replace(first, transfer=replace(first.transfer, narrative="x")), second])

    assert await transfers.before(EVER, account=None, limit=9) == [second, first]


async def test_the_list_is_newest_first_and_goes_on_before_a_position(transfers):
    heard = [listed(position) for position in (3, 5, 8, 13)]
    await transfers.add(heard)

    assert await transfers.before(EVER, account=None, limit=2) == [heard[3], heard[2]]
    assert await transfers.before(8, account=None, limit=2) == [heard[1], heard[0]]
    assert await transfers.before(3, account=None, limit=2) == []


async def test_the_list_of_an_account_has_both_its_sides(transfers):
    heard = [
        listed(1, ASHA, RAVI),
        listed(2, RAVI, ZOE),
        listed(3, ZOE, ASHA),
        listed(4, RAVI, ASHA),
    ]
    await transfers.add(heard)

    assert await transfers.before(EVER, account=ASHA, limit=2) == [heard[3], heard[2]]
    assert await transfers.before(3, account=ASHA, limit=2) == [heard[0]]
    assert await transfers.before(EVER, account=ZOE, limit=9) == [heard[2], heard[1]]
