"""Whatever breaks at whichever statement, here or in the ledger: a change of an account is one."""

from uuid import UUID

import pytest

from cbs.accounts.store.adoption import ChangesBeforeSagas
from tests.accounts.conftest import Bank
from tests.accounts.refusals import BOOK, OF_THE_PLATFORM, OfAccount
from tests.accounts.test_adoption import Before, before  # noqa: F401
from tests.crash_points import Bench, Statements, changing, statements  # noqa: F401
from tests.refusals import GRANTED, Send


@pytest.fixture
def bench(statements: Statements, bank: Bank) -> Bench:  # noqa: F811
    return Bench.of(statements, bank.accounts, bank.ledger)


@pytest.mark.parametrize("operation", changing(BOOK))
async def test_a_broken_statement_costs_nothing(bench: Bench, bank: Bank, operation: str):
    await bench.prove(BOOK[operation], bank)


@pytest.mark.parametrize("operation", changing(OF_THE_PLATFORM))
async def test_nor_in_what_every_service_does(bench: Bench, bank: Bank, operation: str):
    await bench.prove(OF_THE_PLATFORM[operation], bank.accounts)


async def test_nor_while_a_change_is_finished_that_was_left_behind(bench: Bench, bank: Bank):
    service = bank.accounts.service

    async def finish(send: Send) -> str:
        await OfAccount(freeze="freezing").id(bank)
        await bench.run_out_leases()

        async def ask() -> bool:
            await service.spec.provide["sagas"].finish_due()
            return await service.spec.queues["sagas"]() == 0

        await send(ask, bool)
        return GRANTED

    assert await bench.prove_asking(finish) > 10


async def test_nor_while_a_change_of_the_release_before_is_adopted(
    bench: Bench,
    bank: Bank,
    before: Before,  # noqa: F811
):
    service = bank.accounts.service
    earlier = ChangesBeforeSagas(
        database=service.runtime.postgres, sagas=service.spec.provide["sagas"].store
    )

    async def adopt(send: Send) -> str:
        account = await bank.opened()
        await before.begin("freeze", "tell-ledger", UUID(account["id"]), version=2)

        async def ask() -> bool:
            await earlier.adopt()
            return True

        await send(ask, bool)
        return GRANTED

    assert await bench.prove_asking(adopt) > 3
