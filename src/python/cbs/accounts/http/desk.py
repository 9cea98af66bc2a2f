"""A change over HTTP: begun with its key in one transaction, driven at once, answered when done."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.response import Response

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.changes import Changes
from cbs.accounts.domain.account import Account, ChangeUnderWay
from cbs.accounts.domain.change import Asker, Change, Kind
from cbs.accounts.http.shapes import AccountView
from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Unavailable
from cbs.platform.context import current
from cbs.platform.http import Once, answered

WAIT_SECONDS_MAX, LOOK_AGAIN_SECONDS = 5.0, 0.05


def view(account: Account, kind: Kind) -> Answer:
    """The answer to a change that has come about."""
    status = 201 if kind is Kind.OPEN else 200
    return Answer(status=status, body=msgspec.json.encode(AccountView.of(account)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    accounts: Accounts
    changes: Changes

    async def changed(
        self, once: Once, begin: Callable[[Asker], Awaitable[Change]]
    ) -> Response[Any]:
        """Begin the change if this is the first asking, and answer when it is finished.

        Raises Unavailable when that takes too long: the bank finishes it, and the key will tell.
        """
        begun: Change | None = None

        async def effect() -> None:
            nonlocal begun
            begun = await begin(_asker(once))

        clock = asyncio.get_running_loop().time
        until = clock() + current().seconds_left(WAIT_SECONDS_MAX)
        while True:
            try:
                answer = await once.requests.once(once.asked, effect)
            except ChangeUnderWay:
                # Nothing was kept; what is in the way is mostly gone in a moment.
                if clock() >= until:
                    raise
            else:
                if answer is not None:
                    return answered(answer)
                if change := begun or await self._left_behind(once):
                    begun = None
                    await self.changes.drive(change)
                    continue
            if clock() >= until:
                raise Unavailable("under way: ask again with the same key")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _left_behind(self, once: Once) -> Change | None:
        return await self.changes.take(principal=once.asked.principal, key=once.asked.key)


def _asker(once: Once) -> Asker:
    context = current()
    return Asker(
        principal=once.asked.principal,
        key=once.asked.key,
        on_behalf_of=context.on_behalf_of,
        correlation_id=context.correlation_id,
    )
