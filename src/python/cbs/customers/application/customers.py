"""What the customers service can be asked to do, and what it needs in order to do it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from cbs.customers.domain.customer import IMPORT, Customer
from cbs.customers.domain.document import Document, DocumentType
from cbs.customers.domain.kyc import Risk
from cbs.customers.domain.person import Person
from cbs.kernel.calendar import business_date
from cbs.kernel.event import Event
from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal, RefusalKind

Change = Callable[[Customer], tuple[Customer, list[Event]]]


class NoSuchCustomer(Refusal):
    """No customer has this id."""

    code = "no-such-customer"
    kind = RefusalKind.NOT_FOUND


class DocumentKnown(Refusal):
    """A document of this type and issuer with this number was presented before and not rejected."""

    code = "document-known"


class CustomerStore(Protocol):
    """Everything here joins the caller's transaction; facts leave with it."""

    async def add(self, customer: Customer, events: Sequence[Event]) -> None:
        """Raises DocumentKnown if one of the documents is kept already, whoever races."""
        ...

    async def get(self, customer_id: UUID) -> Customer | None: ...

    async def change(self, customer_id: UUID, change: Change) -> Customer | None:
        """Apply `change` to the locked customer; raises DocumentKnown as `add` does."""
        ...

    async def page(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None
    ) -> list[Customer]:
        """In the order of ids. `name` is how the name begins, whatever its case."""
        ...

    async def lapsed(self, *, today: date, limit: int) -> list[UUID]:
        """Customers whom listeners believe verified though no document is good any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A document as it is presented: nothing of it is checked yet."""

    type: DocumentType
    issuer: str
    number: str = field(repr=False)
    expires_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    store: CustomerStore
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]

    @property
    def today(self) -> date:
        return business_date(self.now())

    async def register(
        self, *, person: Person, documents: Sequence[Presented], by: Principal
    ) -> Customer:
        customer, events = Customer.register(
            id=self.new_id(),
            person=person,
            documents=[self._document(each, by) for each in documents],
            importing=by.may(IMPORT),
            at=self.now(),
            today=self.today,
        )
        await self.store.add(customer, events)
        return customer

    async def get(self, customer_id: UUID) -> Customer:
        customer = await self.store.get(customer_id)
        if customer is None:
            raise NoSuchCustomer
        return customer

    async def list(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None
    ) -> Sequence[Customer]:
        return await self.store.page(after=after, limit=limit, name=name, mobile=mobile)

    async def amend(self, *, customer_id: UUID, change: Callable[[Person], Person]) -> Customer:
        return await self._change(customer_id, lambda known: known.amend(change, today=self.today))

    async def add_document(
        self, *, customer_id: UUID, presented: Presented, by: Principal
    ) -> Customer:
        document = self._document(presented, by)
        return await self._change(
            customer_id,
            lambda known: known.add(document, importing=by.may(IMPORT), today=self.today),
        )

    async def verify(self, *, customer_id: UUID, document_id: UUID, by: Principal) -> Customer:
        return await self._change(
            customer_id,
            lambda known: known.verify(document_id, by=by.id, at=self.now(), today=self.today),
        )

    async def reject(
        self, *, customer_id: UUID, document_id: UUID, reason: str, by: Principal
    ) -> Customer:
        return await self._change(
            customer_id,
            lambda known: known.reject(
                document_id, reason=reason, by=by.id, at=self.now(), today=self.today
            ),
        )

    async def rate(self, *, customer_id: UUID, risk: Risk, reason: str, by: Principal) -> Customer:
        return await self._change(
            customer_id, lambda known: known.rate(risk, reason=reason, by=by.id, at=self.now())
        )

    async def suspend(self, *, customer_id: UUID, reason: str) -> Customer:
        return await self._change(customer_id, lambda known: known.suspend(reason=reason))

    async def reinstate(self, *, customer_id: UUID, reason: str) -> Customer:
        return await self._change(customer_id, lambda known: known.reinstate(reason=reason))

    async def close(self, *, customer_id: UUID, reason: str) -> Customer:
        return await self._change(customer_id, lambda known: known.close(reason=reason))

    async def lapsed(self, *, limit: int) -> Sequence[UUID]:
        """Whom to review because a day has passed."""
        return await self.store.lapsed(today=self.today, limit=limit)

    async def review(self, *, customer_id: UUID) -> Customer:
        return await self._change(customer_id, lambda known: known.review(today=self.today))

    async def _change(self, customer_id: UUID, change: Change) -> Customer:
        changed = await self.store.change(customer_id, change)
        if changed is None:
            raise NoSuchCustomer
        return changed

    def _document(self, presented: Presented, by: Principal) -> Document:
        return Document.present(
            id=self.new_id(),
            type=presented.type,
            issuer=presented.issuer,
            number=presented.number,
            expires_on=presented.expires_on,
            by=by.id,
            at=self.now(),
            today=self.today,
        )
