"""What becomes of a customer's accounts when their standing changes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

from cbs.accounts.application.accounts import FIRST, Accounts
from cbs.accounts.domain.account import Account
from cbs.accounts.domain.change import Change
from cbs.accounts.domain.holder import AccountHolder, HolderStanding
from cbs.kernel.saga import Requester, Saga

ACCOUNTS_PAGE_MAX = 50

Begin = Callable[[Requester], Awaitable[Saga[Change]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """`finish` runs a saga under a key to its end, whatever that is; raises Unavailable if it
    cannot be ended now."""

    accounts: Accounts
    transaction: Callable[[], AbstractAsyncContextManager[object]]
    finish: Callable[[str, Begin], Awaitable[object]]

    async def set(self, holder: AccountHolder) -> AccountHolder:
        """When this returns, the ledger holds what the standing means for every account.

        Raises CustomerHasAccounts, and Unavailable: ask again.
        """
        async with self.transaction():
            newest = await self.accounts.set_standing(holder)
        if newest == holder:
            await self._follow_all(holder)
        return newest

    async def _follow_all(self, holder: AccountHolder) -> None:
        after, store = FIRST, self.accounts.accounts
        while page := await store.unended(
            customer_id=holder.customer_id, after=after, limit=ACCOUNTS_PAGE_MAX
        ):
            for account in page:
                # What was begun, but not held by the ledger yet, is waited for.
                if _differs(account, holder) or not account.settled:
                    await self._follow(account.id, holder)
            after = page[-1].id

    async def _follow(self, account_id: UUID, holder: AccountHolder) -> None:
        await self.finish(
            f"standing.{holder.version}.{account_id}",
            lambda requester: self.accounts.follow_standing(
                account_id=account_id, holder=holder, requester=requester
            ),
        )


def _differs(account: Account, holder: AccountHolder) -> bool:
    return (account.suspension is None) is (holder.standing is HolderStanding.SUSPENDED)
