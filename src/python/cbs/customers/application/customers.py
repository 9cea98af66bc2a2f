"""What the customers service can be asked to do, and what it needs in order to do it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from cbs.customers.domain.customer import IMPORT, Customer, NoSuchCustomer
from cbs.customers.domain.document import Document, DocumentType
from cbs.customers.domain.kyc import Risk
from cbs.customers.domain.person import Person
from cbs.customers.domain.standing import Act, CustomerStatus, StandingChange
from cbs.kernel.calendar import business_date
from cbs.kernel.event import Event
from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal
from cbs.kernel.saga import Requester, Saga

TELL_ACCOUNTS = "tell-accounts"

Change = Callable[[Customer], tuple[Customer, list[Event]]]


class DocumentKnown(Refusal):
    """A document of this type and issuer with this number was presented before and not rejected."""

    code = "document-known"


class CustomerStore(Protocol):
    """Everything here joins the caller's transaction; facts leave with it.

    After each change a store that others could edit tells the digest of what it then keeps.
    """

    async def add(self, customer: Customer, events: Sequence[Event]) -> None:
        """Raises DocumentKnown if one of the documents is kept already, whoever races."""
        ...

    async def get(self, customer_id: UUID) -> Customer | None: ...

    async def change(self, customer_id: UUID, change: Change) -> Customer | None:
        """Apply `change` to the locked customer; raises DocumentKnown as `add` does."""
        ...

    async def alike(self, customer: Customer) -> list[UUID]:
        """Who else may be this person, oldest first, ALIKE_MAX at most.

        Until the caller's transaction ends, nobody else is asked of the same likeness.
        """
        ...

    async def page(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None, held: bool
    ) -> list[Customer]:
        """In the order of ids. `name` is how the whole name or the family name begins, whatever
        its form or case; `held` asks for those alone who wait for a decision."""
        ...

    async def unrecorded(self, *, after: UUID, limit: int) -> list[UUID]:
        """Customers of an older release of whom no digest was told yet, in the order of ids."""
        ...

    async def record(self, customer_id: UUID) -> None:
        """Tell the digest of one of them."""
        ...

    async def lapsed(self, *, today: date, limit: int) -> list[UUID]:
        """Customers whom listeners believe verified though no document is good any more."""
        ...


class NewSagas(Protocol):
    async def begin(self, saga: Saga[StandingChange]) -> None:
        """In the caller's transaction; who begins it should drive it at once."""
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
    sagas: NewSagas
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
        customer, held = customer.held_for(await self.store.alike(customer))
        await self.store.add(customer, [*events, *held])
        return customer

    async def get(self, customer_id: UUID) -> Customer:
        customer = await self.store.get(customer_id)
        if customer is None:
            raise NoSuchCustomer
        return customer

    async def list(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None, held: bool
    ) -> Sequence[Customer]:
        return await self.store.page(after=after, limit=limit, name=name, mobile=mobile, held=held)

    async def amend(self, *, customer_id: UUID, change: Callable[[Person], Person]) -> Customer:
        """Who then is like another is held, as at a registration."""
        known: list[Customer] = []

        def amended(customer: Customer) -> tuple[Customer, list[Event]]:
            known.append(customer)
            return customer.amend(change, today=self.today)

        customer = await self._change(customer_id, amended)
        if customer.person.likeness == known[0].person.likeness:
            return customer
        alike = await self.store.alike(customer)
        return await self._change(customer_id, lambda customer: customer.held_for(alike))

    async def found_distinct(self, *, customer_id: UUID, reason: str, by: Principal) -> Customer:
        return await self._change(
            customer_id,
            lambda known: known.found_distinct(reason=reason, by=by.id, at=self.now()),
        )

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

    async def suspend(
        self, *, customer_id: UUID, reason: str, requester: Requester
    ) -> Saga[StandingChange]:
        customer = await self._change(customer_id, lambda known: known.suspend(reason=reason))
        return await self._saga(CustomerStatus.SUSPENDED, customer, reason, requester)

    async def reinstate(
        self, *, customer_id: UUID, reason: str, requester: Requester
    ) -> Saga[StandingChange]:
        customer = await self._change(
            customer_id, lambda known: known.leave_suspension(Act.REINSTATE, reason=reason)
        )
        return await self._saga(CustomerStatus.ACTIVE, customer, reason, requester)

    async def close(
        self, *, customer_id: UUID, reason: str, requester: Requester
    ) -> Saga[StandingChange]:
        customer = await self._change(
            customer_id, lambda known: known.leave_suspension(Act.CLOSE, reason=reason)
        )
        return await self._saga(CustomerStatus.CLOSED, customer, reason, requester)

    async def lapsed(self, *, limit: int) -> Sequence[UUID]:
        """Whom to review because a day has passed."""
        return await self.store.lapsed(today=self.today, limit=limit)

    async def review(self, *, customer_id: UUID) -> Customer:
        return await self._change(customer_id, lambda known: known.review(today=self.today))

    async def _saga(
        self, status: CustomerStatus, customer: Customer, reason: str, requester: Requester
    ) -> Saga[StandingChange]:
        saga = Saga(
            id=self.new_id(),
            kind=status.value,
            step=TELL_ACCOUNTS,
            data=StandingChange(
                customer_id=customer.id,
                version=customer.standing_version,
                status=status,
                reason=reason,
            ),
            requester=requester,
        )
        await self.sagas.begin(saga)
        return saga

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
