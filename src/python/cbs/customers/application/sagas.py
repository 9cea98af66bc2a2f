"""How a customer's standing changes: accounts hold it before it is said to have changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cbs.customers.application.customers import TELL_ACCOUNTS, Change, CustomerStore
from cbs.customers.domain.customer import Customer
from cbs.customers.domain.standing import CustomerStatus, StandingChange
from cbs.kernel.answer import Answer
from cbs.kernel.saga import Effect, Outcome, Saga, SagaDefinition, Step


class Accounts(Protocol):
    async def set_standing(self, change: StandingChange) -> None:
        """Nothing leaves the accounts of who is suspended when this returns; older versions than
        accounts hold change nothing. Raises CustomerHasAccounts of who is to be closed, and
        Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingSteps:
    """`view` makes the answer to a change that has come about."""

    store: CustomerStore
    accounts: Accounts
    view: Callable[[Customer], Answer]

    def definitions(self) -> dict[str, SagaDefinition[StandingChange]]:
        """One for each standing, by its name."""
        keep = Step(name="keep-standing", take=self.keep)
        steps = (Step(name=TELL_ACCOUNTS, take=self.tell_accounts, compensation=(keep,)),)
        return {
            status.value: SagaDefinition(kind=status.value, data=StandingChange, steps=steps)
            for status in CustomerStatus
        }

    async def tell_accounts(self, saga: Saga[StandingChange]) -> Effect[StandingChange]:
        wanted = saga.data
        await self.accounts.set_standing(wanted)

        async def conclude() -> Outcome[StandingChange]:
            customer = await self._change(
                wanted.customer_id,
                lambda known: known.has_standing(wanted.status, reason=wanted.reason),
            )
            return Outcome(answer=self.view(customer))

        return conclude

    async def keep(self, saga: Saga[StandingChange]) -> Effect[StandingChange]:
        async def keep() -> Outcome[StandingChange]:
            await self._change(saga.data.customer_id, Customer.keeps_standing)
            return Outcome()

        return keep

    async def _change(self, customer_id: UUID, change: Change) -> Customer:
        changed = await self.store.change(customer_id, change)
        assert changed is not None, customer_id
        return changed
