"""What a release before sagas left unfinished is looked for as long as one may run beside this."""

import asyncio

import structlog

from cbs.accounts.store.adoption import ChangesBeforeSagas
from cbs.platform.database import UNREACHABLE

LOOK_AGAIN_SECONDS = 2.0

log = structlog.get_logger()


async def adopt_for_ever(changes: ChangesBeforeSagas) -> None:
    while True:
        try:
            if found := await changes.adopt():
                log.info("changes-adopted", changes=found)
        except UNREACHABLE as error:
            log.warning("database-unavailable", error=repr(error))
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
