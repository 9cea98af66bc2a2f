"""A change is finished by whoever finds it unfinished: the caller's request, else this service.

The saga, one line a step; what a step does it may do twice:

    check-customer   ask customers      on a no: refuse the opening
    tell-ledger      tell the terms     on a no: withdraw (an opening: refuse it)
    withdraw         tell the former terms, under a newer version; then answer with the no
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cbs.accounts.application.accounts import Book
from cbs.accounts.domain.account import Account, CustomerNotActive, CustomerNotVerified
from cbs.accounts.domain.change import Change, Kind, Step
from cbs.accounts.domain.facts import AccountOpeningRefused
from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.refusal import Refusal, Unavailable

# However long an outage was, the bank is settled within 10 s of its end. So a lease whose holder
# died may be no longer than it must: one call to another service. Two who hold it do no harm.
LEASE_SECONDS = 6
TRY_AGAIN_SECONDS, TRY_AGAIN_SECONDS_MAX = 0.5, 4.0
DRIVEN_AT_ONCE_MAX, IDLE_SECONDS = 4, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    verified: bool
    active: bool


class Customers(Protocol):
    async def standing(self, customer_id: UUID) -> Standing:
        """Raises the refusal of an unknown customer, and Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What is durable together: the next step and what it does to the account, told to whom."""

    to: Step
    account: Account
    version: int
    news: Event | None = None
    answer: Answer | None = None
    refusal: Answer | None = None


class ChangeStore(Protocol):
    """Every method is one transaction of its own."""

    async def account(self, account_id: UUID) -> Account: ...

    async def advance(self, change: Change, advance: Callable[[Account], Advance]) -> Change | None:
        """Take the step on the locked account; None if somebody else took it first."""
        ...

    async def take(self, *, principal: str, key: str, lease_seconds: float) -> Change | None:
        """The unfinished change under this key, unless somebody has the lease of it."""
        ...

    async def take_due(self, *, limit: int, lease_seconds: float) -> list[Change]:
        """Changes of which nobody has the lease any more, longest waiting first."""
        ...

    async def defer(self, change: Change, *, seconds: float, error: str) -> None:
        """Give up the lease, and let nobody have it for so long."""
        ...

    async def unfinished(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`as_service_for` makes what follows the service's own work, for whom the change is."""

    store: ChangeStore
    book: Book
    customers: Customers
    now: Callable[[], datetime]
    view: Callable[[Account, Kind], Answer]
    refused: Callable[[Refusal], Answer]
    as_service_for: Callable[[Change], AbstractContextManager[object]]
    failed: Callable[[Change, BaseException], None]
    lease_seconds: float = LEASE_SECONDS

    async def take(self, *, principal: str, key: str) -> Change | None:
        return await self.store.take(principal=principal, key=key, lease_seconds=self.lease_seconds)

    async def drive(self, change: Change) -> None:
        """Take what steps are left, by the lease that the caller has.

        Raises Unavailable when one cannot be taken now; this service then goes on by itself.
        """
        at: Change | None = change
        try:
            while at is not None and at.step is not Step.DONE:
                change = at
                at = await self._take_step(change)
        except Refusal as refusal:
            error = f"{refusal.code}: {refusal.detail}"
            await self.store.defer(change, seconds=_pause(change), error=error)
            raise Unavailable(f"not yet: {error}") from refusal

    async def finish_due(self) -> int:
        """Drive changes that were left behind; how many there were."""
        due = await self.store.take_due(limit=DRIVEN_AT_ONCE_MAX, lease_seconds=self.lease_seconds)
        outcomes = await asyncio.gather(
            *(self._drive_for(change) for change in due), return_exceptions=True
        )
        for change, outcome in zip(due, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                # Nobody waits here; the lease runs out, and it is tried again.
                self.failed(change, outcome)
        return len(due)

    async def _drive_for(self, change: Change) -> None:
        with self.as_service_for(change):
            await self.drive(change)

    async def _take_step(self, change: Change) -> Change | None:
        take, otherwise = {
            Step.CHECK_CUSTOMER: (self._check_customer, self._refuse_opening),
            Step.TELL_LEDGER: (self._tell_ledger, self._withdraw),
            Step.WITHDRAW: (self._tell_ledger, None),
        }[change.step]
        try:
            return await take(change)
        except Refusal as refusal:
            if not refusal.lasting or otherwise is None:
                raise
            return await otherwise(change, refusal)

    async def _check_customer(self, change: Change) -> Change | None:
        account = await self.store.account(change.account_id)
        standing = await self.customers.standing(account.customer_id)
        if not standing.verified:
            raise CustomerNotVerified
        if not standing.active:
            raise CustomerNotActive
        return await self.store.advance(
            change,
            lambda account: Advance(to=Step.TELL_LEDGER, account=account, version=change.version),
        )

    async def _tell_ledger(self, change: Change) -> Change | None:
        known = await self.store.account(change.account_id)
        told = known.acknowledged
        if told < change.version:
            await self.book.hold(known)
            told = known.version

        def concluded(account: Account) -> Advance:
            account = account.told(told, at=self.now())
            withdrawn = change.refusal is not None
            return Advance(
                to=Step.DONE,
                account=account,
                version=change.version,
                news=None if withdrawn else change.news(account),
                answer=change.refusal or self.view(account, change.kind),
                refusal=change.refusal,
            )

        return await self.store.advance(change, concluded)

    async def _withdraw(self, change: Change, refusal: Refusal) -> Change | None:
        if change.kind is Kind.OPEN:
            return await self._refuse_opening(change, refusal)

        def withdrawn(account: Account) -> Advance:
            account = account.withdrawn(change.former)
            return Advance(
                to=Step.WITHDRAW,
                account=account,
                version=account.version,
                refusal=self.refused(refusal),
            )

        return await self.store.advance(change, withdrawn)

    async def _refuse_opening(self, change: Change, refusal: Refusal) -> Change | None:
        answer = self.refused(refusal)
        return await self.store.advance(
            change,
            lambda account: Advance(
                to=Step.DONE,
                account=account.refused(),
                version=change.version,
                news=AccountOpeningRefused(
                    account_id=account.id,
                    customer_id=account.customer_id,
                    because=refusal.code,
                ),
                answer=answer,
                refusal=answer,
            ),
        )


def _pause(change: Change) -> float:
    doubled: float = TRY_AGAIN_SECONDS * 2 ** min(change.tries, 10)
    return min(doubled, TRY_AGAIN_SECONDS_MAX)
