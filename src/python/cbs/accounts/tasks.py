"""What accounts does by itself: a freeze whose last day is over is lifted, and what a release
before sagas left unfinished is looked for as long as one may run beside this."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.standing import Begin
from cbs.accounts.store.adoption import ChangesBeforeSagas
from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE

LOOK_AGAIN_SECONDS = 2.0
LAPSES_SECONDS, LAPSES_PAGE_MAX = 60.0, 50

log = structlog.get_logger()


async def adopt_for_ever(changes: ChangesBeforeSagas) -> None:
    while True:
        try:
            if found := await changes.adopt():
                log.info("changes-adopted", changes=found)
        except UNREACHABLE as error:
            log.warning("database-unavailable", error=repr(error))
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapses:
    """Freezes whose last day is over. `finish` is as in Standings."""

    accounts: Accounts
    finish: Callable[[str, Begin], Awaitable[object]]
    principal: Principal

    async def run(self) -> None:
        """Look until cancelled, whatever fails meanwhile."""
        while True:
            try:
                while await self.look() == LAPSES_PAGE_MAX:
                    pass
            except (Refusal, *UNREACHABLE) as error:
                log.warning("lapses-interrupted", error=repr(error))
            await asyncio.sleep(LAPSES_SECONDS)

    async def look(self) -> int:
        """Lift a page of them; returns how many there were."""
        lapsed = await self.accounts.lapsed(limit=LAPSES_PAGE_MAX)
        for account_id, freeze_id in lapsed:
            with within(Context(principal=self.principal)):
                await self._lift(account_id, freeze_id)
        return len(lapsed)

    async def _lift(self, account_id: UUID, freeze_id: UUID) -> None:
        await self.finish(
            f"lapse.{freeze_id}",
            lambda requester: self.accounts.unfreeze(
                account_id=account_id,
                freeze_id=freeze_id,
                reason="its last day is over",
                requester=requester,
            ),
        )
