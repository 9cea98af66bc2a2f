"""What crashed callers left unfinished, this service finishes by itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from cbs.accounts.application.changes import IDLE_SECONDS, Changes
from cbs.accounts.domain.change import Change
from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE

DATABASE_PAUSE_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWork:
    """The context of work that the service does by itself, for whoever asked for it."""

    principal: Principal

    @contextmanager
    def __call__(self, change: Change) -> Iterator[None]:
        asker = change.asker
        context = Context(
            principal=self.principal,
            on_behalf_of=asker.on_behalf_of or asker.principal,
            correlation_id=asker.correlation_id,
        )
        with within(context):
            yield


def failed(change: Change, error: BaseException) -> None:
    if isinstance(error, (Refusal, *UNREACHABLE)):
        log.warning("change-not-yet-finished", change=str(change.id), error=repr(error))
    else:
        log.error("change-failed", change=str(change.id), exc_info=error)


async def finish_for_ever(changes: Changes) -> None:
    while True:
        try:
            found = await changes.finish_due()
        except UNREACHABLE as error:
            log.warning("database-unavailable", error=repr(error))
            await asyncio.sleep(DATABASE_PAUSE_SECONDS)
            continue
        if not found:
            await asyncio.sleep(IDLE_SECONDS)
