"""What is cancelled gives back what it held, and ends."""

import asyncio

from cbs.platform.database import Database
from cbs.platform.process import ended


async def test_a_transaction_cancelled_anywhere_gives_its_connection_back(database):
    engine = Database(database("ledger").runtime_url, connections_max=1)
    await engine.open()

    async def change() -> None:
        async with engine.transaction():
            await engine.execute("SELECT 1")

    for steps in range(40):
        task = asyncio.create_task(change())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with asyncio.timeout(5):
        await change()
    await engine.close()


async def test_a_task_that_loses_a_cancellation_is_cancelled_again():
    async def deaf_once() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await ended({task})

    assert task.cancelled()
