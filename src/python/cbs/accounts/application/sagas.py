"""How a change of an account comes about, or is undone: the steps of its saga.

A step may be taken twice, by two instances at once: the ledger ignores a version that is not newer
than the one it holds, and what has come about here has come about already.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cbs.accounts.application.accounts import AccountStore
from cbs.accounts.application.book import Book
from cbs.accounts.domain.account import Account, CustomerNotActive, CustomerNotVerified
from cbs.accounts.domain.change import Change, Kind
from cbs.accounts.domain.facts import AccountOpeningRefused
from cbs.kernel.answer import Answer
from cbs.kernel.saga import Effect, Outcome, Saga, SagaDefinition, Step, nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    verified: bool
    active: bool


class Customers(Protocol):
    async def standing(self, customer_id: UUID) -> Standing:
        """Raises the refusal of an unknown customer, and Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSteps:
    """`view` makes the answer to a change that has come about."""

    accounts: AccountStore
    book: Book
    customers: Customers
    now: Callable[[], datetime]
    view: Callable[[Account, Change], Answer]

    def definitions(self) -> dict[str, SagaDefinition[Change]]:
        """One of each kind of change, by its name."""
        refuse = Step(name="refuse-opening", take=self.refuse_opening)
        opening = (
            Step(name="check-customer", take=self.check_customer, compensation=(refuse,)),
            Step(name="open-in-ledger", take=self.open_in_ledger),
        )
        undo = (
            Step(name="revert-terms", take=self.revert_terms),
            Step(name="restore-terms-in-ledger", take=self.restore_terms),
        )
        changing = (Step(name="change-terms-in-ledger", take=self.change_terms, compensation=undo),)
        return {
            kind.value: SagaDefinition(
                kind=kind.value, data=Change, steps=opening if kind is Kind.OPEN else changing
            )
            for kind in Kind
        }

    async def check_customer(self, saga: Saga[Change]) -> Effect[Change]:
        account = await self._account(saga)
        standing = await self.customers.standing(account.customer_id)
        if not standing.verified:
            raise CustomerNotVerified
        if not standing.active:
            raise CustomerNotActive
        return nothing

    async def refuse_opening(self, saga: Saga[Change]) -> Effect[Change]:
        async def refuse() -> Outcome[Change]:
            account = await self._update(saga, Account.refused)
            event = AccountOpeningRefused(
                account_id=account.id,
                customer_id=account.customer_id,
                because=saga.refusal_code,
            )
            return Outcome(events=(event,))

        return refuse

    async def open_in_ledger(self, saga: Saga[Change]) -> Effect[Change]:
        return self._come_about(saga, await self._held(saga, self.book.open))

    async def change_terms(self, saga: Saga[Change]) -> Effect[Change]:
        return self._come_about(saga, await self._held(saga, self.book.change_terms))

    async def revert_terms(self, saga: Saga[Change]) -> Effect[Change]:
        """Under a newer version: the refused one may still be on its way to the ledger."""

        async def revert() -> Outcome[Change]:
            former = saga.data.former
            account = await self._update(saga, lambda account: account.reverted_to(former))
            return Outcome(data=replace(saga.data, version=account.version))

        return revert

    async def restore_terms(self, saga: Saga[Change]) -> Effect[Change]:
        version = await self._held(saga, self.book.change_terms)

        async def restore() -> Outcome[Change]:
            await self._update(saga, lambda known: known.acknowledged_at(version, at=self.now()))
            return Outcome()

        return restore

    async def _held(self, saga: Saga[Change], hold: Callable[[Account], Awaitable[None]]) -> int:
        """The version that the ledger then holds: all of the terms as they now are here."""
        known = await self._account(saga)
        if known.acknowledged >= saga.data.version:
            return known.acknowledged
        await hold(known)
        return known.version

    def _come_about(self, saga: Saga[Change], version: int) -> Effect[Change]:
        async def conclude() -> Outcome[Change]:
            account = await self._update(
                saga, lambda known: known.acknowledged_at(version, at=self.now())
            )
            return Outcome(
                answer=self.view(account, saga.data),
                events=(saga.data.to_event(account),),
            )

        return conclude

    async def _account(self, saga: Saga[Change]) -> Account:
        account = await self.accounts.get(saga.data.account_id)
        assert account is not None, saga
        return account

    async def _update(self, saga: Saga[Change], change: Callable[[Account], Account]) -> Account:
        account = await self.accounts.update(saga.data.account_id, change)
        assert account is not None, saga
        return account
