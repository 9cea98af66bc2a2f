from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from uuid import UUID

from cbs.customers.application.customers import Change, DocumentKnown
from cbs.customers.domain.customer import Customer
from cbs.customers.domain.document import DocumentState
from cbs.customers.domain.kyc import Kyc, verified_until
from cbs.kernel.event import Event


class InMemoryCustomers:
    """Keeps the promises of CustomerStore; test_store.py holds both stores to them."""

    def __init__(self) -> None:
        self.customers: dict[UUID, Customer] = {}
        self.told: list[Event] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        before = dict(self.customers), list(self.told)
        try:
            yield
        except BaseException:
            self.customers, self.told = before
            raise

    async def add(self, customer: Customer, events: Sequence[Event]) -> None:
        self._keep(customer, events)

    async def get(self, customer_id: UUID) -> Customer | None:
        return self.customers.get(customer_id)

    async def change(self, customer_id: UUID, change: Change) -> Customer | None:
        if (known := self.customers.get(customer_id)) is None:
            return None
        changed, events = change(known)
        self._keep(changed, events)
        return changed

    async def page(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None
    ) -> list[Customer]:
        found = [
            each
            for id, each in sorted(self.customers.items())
            if id > after
            and (name is None or each.person.name.casefold().startswith(name.casefold()))
            and (mobile is None or each.person.mobile == mobile)
        ]
        return found[:limit]

    async def lapsed(self, *, today: date, limit: int) -> list[UUID]:
        found = [
            id
            for id, each in sorted(self.customers.items())
            if each.kyc is Kyc.VERIFIED and verified_until(each.documents) < today
        ]
        return found[:limit]

    def _keep(self, customer: Customer, events: Sequence[Event]) -> None:
        others = {**self.customers, customer.id: customer}
        kept = [
            (each.type, each.issuer, each.number)
            for known in others.values()
            for each in known.documents
            if each.state is not DocumentState.REJECTED
        ]
        twice = [each for each in kept if kept.count(each) > 1]
        if twice:
            raise DocumentKnown(twice[0][0])
        self.customers = others
        self.told += events
