"""What is told without being asked: that a new day has let documents expire, and the digests of
customers whom a release registered that told none."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from cbs.customers.application.customers import Customers, CustomerStore
from cbs.kernel.principal import Principal
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE, Transactions

LOOK_AGAIN_SECONDS, CUSTOMERS_PAGE_MAX = 60.0, 100
# It may still run beside this one.
RECORD_AGAIN_SECONDS = 3_600.0
FIRST = UUID(int=0)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    customers: Customers
    database: Transactions
    principal: Principal

    async def run(self) -> None:
        """Look until cancelled, whatever fails meanwhile."""
        while True:
            try:
                while await self.look() == CUSTOMERS_PAGE_MAX:
                    pass
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                log.warning("expiry-interrupted", error=repr(error))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def look(self) -> int:
        """Review a page of customers, each in a transaction of its own; returns how many."""
        lapsed = await self.customers.lapsed(limit=CUSTOMERS_PAGE_MAX)
        for customer_id in lapsed:
            with within(Context(principal=self.principal)):
                # One each: the outbox's lock, taken last, must not be held while waiting for a row.
                async with self.database.transaction():
                    await self.customers.review(customer_id=customer_id)
        return len(lapsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What it finds is trusted: nothing was told of it that it could be compared with."""

    store: CustomerStore
    database: Transactions
    principal: Principal

    async def run(self) -> None:
        """Look until cancelled, whatever fails meanwhile."""
        while True:
            try:
                await self.look()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                log.warning("recording-interrupted", error=repr(error))
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await asyncio.sleep(RECORD_AGAIN_SECONDS)

    async def look(self) -> int:
        """Record all, each in a transaction of its own; returns how many."""
        after, recorded = FIRST, 0
        while page := await self.store.unrecorded(after=after, limit=CUSTOMERS_PAGE_MAX):
            for customer_id in page:
                with within(Context(principal=self.principal)):
                    async with self.database.transaction():
                        await self.store.record(customer_id)
            after, recorded = page[-1], recorded + len(page)
        return recorded
