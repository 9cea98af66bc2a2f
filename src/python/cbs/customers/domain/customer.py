"""A customer is a person with a standing: what the bank knows of them decides what they may do.

A standing is changed here first and then told to accounts, under a version that only grows; until
they have it, and may still say no to an end, it is changed no further.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from cbs.customers.domain.document import IMPORTED_ONLY, NATIONAL, Document, DocumentState
from cbs.customers.domain.facts import (
    CustomerAmended,
    CustomerClosed,
    CustomerFoundDistinct,
    CustomerHeld,
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
from cbs.customers.domain.standing import Act, CustomerStatus, StandingUnderWay, must_allow
from cbs.kernel.event import Event
from cbs.kernel.refusal import NotPermitted, Refusal, RefusalKind

DOCUMENTS_MAX, ALIKE_MAX = 20, 10
IMPORT = "customers.import"


class NoSuchCustomer(Refusal):
    """No customer has this id."""

    code = "no-such-customer"
    kind = RefusalKind.NOT_FOUND


class NoSuchDocument(Refusal):
    """The customer has no document with this id."""

    code = "no-such-document"
    kind = RefusalKind.NOT_FOUND


class TooManyDocuments(Refusal):
    """A customer has at most 20 documents."""

    code = "too-many-documents"


class SecondOfItsKind(Refusal):
    """A person has one PAN and one Aadhaar: reject the document on file first."""

    code = "second-of-its-kind"


class CustomerIsHeld(Refusal):
    """Another customer may be the same person: decide first whether they are distinct."""

    code = "customer-is-held"


class CustomerNotHeld(Refusal):
    """Nobody is waiting for a decision about this customer."""

    code = "customer-not-held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A risk and why; nobody has rated it where `by` is None."""

    risk: Risk = Risk.LOW
    reason: str | None = None
    by: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Customers who may be the same person; undecided where `by` is None."""

    customers: tuple[UUID, ...] = ()
    reason: str | None = None
    by: str | None = None
    at: datetime | None = None

    @property
    def undecided(self) -> bool:
        return bool(self.customers) and self.by is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """`kyc` is what listeners were told last; `kyc_on` is what is true on a day. Accounts may not
    have the newest standing yet where it is `standing_under_way`."""

    id: UUID
    person: Person
    imported: bool
    registered_at: datetime
    documents: tuple[Document, ...] = ()
    kyc: Kyc = Kyc.PENDING
    rating: Rating = Rating()
    status: CustomerStatus = CustomerStatus.ACTIVE
    status_reason: str | None = None
    standing_version: int = 0
    standing_under_way: bool = False
    likeness: Likeness = Likeness()

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
        must_allow(self.status, Act.AMEND)
        person = change(self.person).checked(
            today=today, imported=self.imported, before=self.person
        )
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
        must_allow(self.status, Act.PRESENT_DOCUMENT)
        if document.type in IMPORTED_ONLY and not importing:
            raise NotPermitted(f"needs the permission {IMPORT}")
        if len(self.documents) >= DOCUMENTS_MAX:
            raise TooManyDocuments
        if document.type in NATIONAL and any(
            each.type is document.type and each.state is not DocumentState.REJECTED
            for each in self.documents
        ):
            raise SecondOfItsKind(document.type)
        added = DocumentAdded(customer_id=self.id, document_id=document.id, type=document.type)
        return self._with((*self.documents, document), today, added)

    def verify(
        self, document_id: UUID, *, by: str, at: datetime, today: date
    ) -> "tuple[Customer, list[Event]]":
        must_allow(self.status, Act.VERIFY)
        if self.likeness.undecided:
            raise CustomerIsHeld
        verified = self._document(document_id).verify(by=by, at=at, today=today)
        fact = DocumentVerified(customer_id=self.id, document_id=document_id)
        return self._with(self._replacing(verified), today, fact)

    def reject(
        self, document_id: UUID, *, reason: str, by: str, at: datetime, today: date
    ) -> "tuple[Customer, list[Event]]":
        must_allow(self.status, Act.REJECT)
        rejected = self._document(document_id).reject(reason=reason, by=by, at=at)
        fact = DocumentRejected(customer_id=self.id, document_id=document_id)
        return self._with(self._replacing(rejected), today, fact)

    def rate(
        self, risk: Risk, *, reason: str, by: str, at: datetime
    ) -> "tuple[Customer, list[Event]]":
        must_allow(self.status, Act.RATE)
        reason = line(reason, characters_max=REASON_CHARACTERS_MAX)
        fact = RiskRated(customer_id=self.id, before=self.rating.risk, risk=risk)
        return replace(self, rating=Rating(risk=risk, reason=reason, by=by, at=at)), [fact]

    def held_for(self, alike: Sequence[UUID]) -> "tuple[Customer, list[Event]]":
        """Nothing if nobody is like them of whom it was not known; only a decision ends it."""
        before = self.likeness.customers if self.likeness.undecided else ()
        customers = tuple(dict.fromkeys((*before, *alike)))[:ALIKE_MAX]
        if customers == before:
            return self, []
        likeness = Likeness(customers=customers)
        held = CustomerHeld(customer_id=self.id, alike=likeness.customers)
        return replace(self, likeness=likeness), [held]

    def found_distinct(
        self, *, reason: str, by: str, at: datetime
    ) -> "tuple[Customer, list[Event]]":
        must_allow(self.status, Act.FIND_DISTINCT)
        if not self.likeness.undecided:
            raise CustomerNotHeld
        reason = line(reason, characters_max=REASON_CHARACTERS_MAX)
        likeness = replace(self.likeness, reason=reason, by=by, at=at)
        fact = CustomerFoundDistinct(customer_id=self.id, alike=likeness.customers)
        return replace(self, likeness=likeness), [fact]

    def suspend(self, *, reason: str) -> "tuple[Customer, list[Event]]":
        """From here on; accounts are told."""
        must_allow(self.status, Act.SUSPEND)
        suspended = replace(self._changing(), **_standing(CustomerStatus.SUSPENDED, reason))
        return suspended, [CustomerSuspended(customer_id=self.id)]

    def leave_suspension(self, act: Act, *, reason: str) -> "tuple[Customer, list[Event]]":
        """Begin what makes a suspended customer active or closed: accounts are asked first."""
        must_allow(self.status, act)
        line(reason, characters_max=REASON_CHARACTERS_MAX)
        return self._changing(), []

    def has_standing(
        self, status: CustomerStatus, *, reason: str
    ) -> "tuple[Customer, list[Event]]":
        """What accounts hold now."""
        settled = replace(self, standing_under_way=False, **_standing(status, reason))
        if status is CustomerStatus.ACTIVE:
            return settled, [CustomerReinstated(customer_id=self.id)]
        if status is CustomerStatus.CLOSED:
            return settled, [CustomerClosed(customer_id=self.id)]
        return settled, []

    def keeps_standing(self) -> "tuple[Customer, list[Event]]":
        """After accounts have said no."""
        return replace(self, standing_under_way=False), []

    def review(self, *, today: date) -> "tuple[Customer, list[Event]]":
        """Tell what the passing of days alone has changed; nothing if it was told before."""
        return self._with(self.documents, today)

    def _changing(self) -> "Customer":
        if self.standing_under_way:
            raise StandingUnderWay
        version = self.standing_version + 1
        return replace(self, standing_version=version, standing_under_way=True)

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


def _standing(status: CustomerStatus, reason: str) -> dict[str, Any]:
    reason = line(reason, characters_max=REASON_CHARACTERS_MAX)
    return {"status": status, "status_reason": reason}
