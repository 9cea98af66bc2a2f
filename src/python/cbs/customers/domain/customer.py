"""A customer is a person with a standing: what the bank knows of them decides what they may do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from cbs.customers.domain.document import IMPORTED_ONLY, Document
from cbs.customers.domain.facts import (
    CustomerAmended,
    CustomerClosed,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
    DocumentAdded,
    DocumentRejected,
    DocumentVerified,
    KycStatusChanged,
    RiskRated,
)
from cbs.customers.domain.kyc import Kyc, Risk, kyc_on
from cbs.customers.domain.person import REASON_CHARACTERS_MAX, Person, line
from cbs.kernel.event import Event
from cbs.kernel.refusal import NotPermitted, Refusal, RefusalKind

DOCUMENTS_MAX = 20
IMPORT = "customers.import"


class CustomerStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class NoSuchDocument(Refusal):
    """The customer has no document with this id."""

    code = "no-such-document"
    kind = RefusalKind.NOT_FOUND


class TooManyDocuments(Refusal):
    """A customer has at most 20 documents."""

    code = "too-many-documents"


class CustomerIsClosed(Refusal):
    """The bank and this customer have parted; nothing about them changes any more."""

    code = "customer-is-closed"


class CustomerNotActive(Refusal):
    """Only an active customer can be suspended."""

    code = "customer-not-active"


class CustomerNotSuspended(Refusal):
    """Only a suspended customer can be reinstated or closed."""

    code = "customer-not-suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A risk and why; nobody has rated it where `by` is None."""

    risk: Risk = Risk.LOW
    reason: str | None = None
    by: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """`kyc` is what listeners were told last; `kyc_on` is what is true on a day."""

    id: UUID
    person: Person
    imported: bool
    registered_at: datetime
    documents: tuple[Document, ...] = ()
    kyc: Kyc = Kyc.PENDING
    rating: Rating = Rating()
    status: CustomerStatus = CustomerStatus.ACTIVE
    status_reason: str | None = None

    @classmethod
    def register(
        cls,
        *,
        id: UUID,
        person: Person,
        documents: Sequence[Document],
        importing: bool,
        at: datetime,
        today: date,
    ) -> "tuple[Customer, list[Event]]":
        """Raises what is wrong with the person; `importing` allows what an old bank allowed."""
        customer = cls(
            id=id,
            person=person.checked(today=today, imported=importing),
            imported=importing,
            registered_at=at,
        )
        events: list[Event] = [CustomerRegistered(customer_id=id, imported=importing)]
        for document in documents:
            customer, added = customer.add(document, importing=importing, today=today)
            events += added
        return customer, events

    def kyc_on(self, day: date) -> Kyc:
        return kyc_on(day, self.documents)

    def amend(
        self, change: Callable[[Person], Person], *, today: date
    ) -> "tuple[Customer, list[Event]]":
        """A new name or date of birth is another identity: documents are verified again."""
        self._check_open()
        person = change(self.person).checked(today=today, imported=self.imported)
        fields = person.differs_in(self.person)
        if not fields:
            return self, []
        documents = self.documents
        if not person.is_who(self.person):
            documents = tuple(each.reopened() for each in documents)
        amended = CustomerAmended(customer_id=self.id, fields=fields)
        return replace(self, person=person)._with(documents, today, amended)

    def add(
        self, document: Document, *, importing: bool, today: date
    ) -> "tuple[Customer, list[Event]]":
        self._check_open()
        if document.type in IMPORTED_ONLY and not importing:
            raise NotPermitted(f"needs the permission {IMPORT}")
        if len(self.documents) >= DOCUMENTS_MAX:
            raise TooManyDocuments
        added = DocumentAdded(customer_id=self.id, document_id=document.id, type=document.type)
        return self._with((*self.documents, document), today, added)

    def verify(
        self, document_id: UUID, *, by: str, at: datetime, today: date
    ) -> "tuple[Customer, list[Event]]":
        self._check_open()
        verified = self._document(document_id).verify(by=by, at=at, today=today)
        fact = DocumentVerified(customer_id=self.id, document_id=document_id)
        return self._with(self._replacing(verified), today, fact)

    def reject(
        self, document_id: UUID, *, reason: str, by: str, at: datetime, today: date
    ) -> "tuple[Customer, list[Event]]":
        self._check_open()
        rejected = self._document(document_id).reject(reason=reason, by=by, at=at)
        fact = DocumentRejected(customer_id=self.id, document_id=document_id)
        return self._with(self._replacing(rejected), today, fact)

    def rate(
        self, risk: Risk, *, reason: str, by: str, at: datetime
    ) -> "tuple[Customer, list[Event]]":
        self._check_open()
        reason = line(reason, characters_max=REASON_CHARACTERS_MAX)
        fact = RiskRated(customer_id=self.id, before=self.rating.risk, risk=risk)
        return replace(self, rating=Rating(risk=risk, reason=reason, by=by, at=at)), [fact]

    def suspend(self, *, reason: str) -> "tuple[Customer, list[Event]]":
        self._check_open()
        if self.status is not CustomerStatus.ACTIVE:
            raise CustomerNotActive
        return self._in(CustomerStatus.SUSPENDED, reason), [CustomerSuspended(customer_id=self.id)]

    def reinstate(self, *, reason: str) -> "tuple[Customer, list[Event]]":
        self._check_suspended()
        return self._in(CustomerStatus.ACTIVE, reason), [CustomerReinstated(customer_id=self.id)]

    def close(self, *, reason: str) -> "tuple[Customer, list[Event]]":
        self._check_suspended()
        return self._in(CustomerStatus.CLOSED, reason), [CustomerClosed(customer_id=self.id)]

    def review(self, *, today: date) -> "tuple[Customer, list[Event]]":
        """Tell what the passing of days alone has changed; nothing if it was told before."""
        return self._with(self.documents, today)

    def _check_open(self) -> None:
        if self.status is CustomerStatus.CLOSED:
            raise CustomerIsClosed

    def _check_suspended(self) -> None:
        self._check_open()
        if self.status is not CustomerStatus.SUSPENDED:
            raise CustomerNotSuspended

    def _in(self, status: CustomerStatus, reason: str) -> Self:
        reason = line(reason, characters_max=REASON_CHARACTERS_MAX)
        return replace(self, status=status, status_reason=reason)

    def _document(self, document_id: UUID) -> Document:
        found = next((each for each in self.documents if each.id == document_id), None)
        if found is None:
            raise NoSuchDocument
        return found

    def _replacing(self, document: Document) -> tuple[Document, ...]:
        return tuple(document if each.id == document.id else each for each in self.documents)

    def _with(
        self, documents: tuple[Document, ...], today: date, *events: Event
    ) -> "tuple[Customer, list[Event]]":
        kyc = kyc_on(today, documents)
        told = list(events)
        if kyc is not self.kyc:
            told.append(KycStatusChanged(customer_id=self.id, before=self.kyc, kyc=kyc))
        return replace(self, documents=documents, kyc=kyc), told
