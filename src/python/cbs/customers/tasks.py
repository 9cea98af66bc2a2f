"""Documents expire while nobody asks: what a new day has changed is told without being asked."""

import asyncio
from dataclasses import dataclass

import asyncpg
import structlog

from cbs.customers.application.customers import Customers
from cbs.kernel.principal import Principal
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE, Transactions

LOOK_AGAIN_SECONDS, CUSTOMERS_PAGE_MAX = 60.0, 100

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
