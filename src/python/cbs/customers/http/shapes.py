"""What a caller says of a customer in JSON, and what is shown: numbers masked, always."""

from datetime import date, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from cbs.customers.application.customers import Presented
from cbs.customers.domain.customer import DOCUMENTS_MAX, Customer, Likeness
from cbs.customers.domain.document import (
    NUMBER_CHARACTERS_MAX,
    Document,
    DocumentState,
    DocumentType,
)
from cbs.customers.domain.issuer import HOME, ISSUER_CHARACTERS_MAX
from cbs.customers.domain.kyc import Kyc, Risk
from cbs.customers.domain.person import (
    ADDRESS_LINES_MAX,
    EMAIL_CHARACTERS_MAX,
    LINE_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    Address,
    Person,
)
from cbs.customers.domain.standing import CustomerStatus
from cbs.kernel.answer import Answer
from cbs.kernel.published import published_as

MOBILE_FORM = r"^\+[1-9][0-9]{6,14}$(?!\n)"

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
Line = Annotated[str, Meta(min_length=1, max_length=LINE_CHARACTERS_MAX)]
Email = Annotated[str, Meta(min_length=3, max_length=EMAIL_CHARACTERS_MAX)]
Mobile = Annotated[
    str,
    Meta(
        pattern=MOBILE_FORM,
        description="As in E.164",
        examples=["+919876543210"],
    ),
]
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_CHARACTERS_MAX)]


class AddressBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """In India, state and a pin code of six digits are needed."""

    lines: Annotated[list[str], Meta(min_length=1, max_length=ADDRESS_LINES_MAX)]
    city: Line
    state: Line | None = None
    postal_code: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{1,9}$(?!\n)")] | None = (
        None
    )
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)")] = HOME

    def address(self) -> Address:
        return Address(
            lines=tuple(self.lines),
            city=self.city,
            state=self.state,
            postal_code=self.postal_code,
            country=self.country,
        )


class DocumentBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`issuer` is a country by ISO 3166 or a state of India (`IN-GA`, `Goa`); of a foreign client
    number, the bank that gave it."""

    type: DocumentType
    number: Annotated[str, Meta(min_length=1, max_length=NUMBER_CHARACTERS_MAX)]
    issuer: Annotated[str, Meta(min_length=2, max_length=ISSUER_CHARACTERS_MAX)] = HOME
    expires_on: date | None = None

    def presented(self) -> Presented:
        return Presented(
            type=self.type, issuer=self.issuer, number=self.number, expires_on=self.expires_on
        )


class RegisterBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A mobile number may be missing in an import only."""

    given_name: Name
    family_name: Name | None = None
    date_of_birth: date
    email: Email | None = None
    mobile: Mobile | None = None
    address: AddressBody
    documents: Annotated[list[DocumentBody], Meta(max_length=DOCUMENTS_MAX)] = []

    def person(self) -> Person:
        return Person(
            given_name=self.given_name,
            family_name=self.family_name,
            date_of_birth=self.date_of_birth,
            email=self.email,
            mobile=self.mobile,
            address=self.address.address(),
        )


T = TypeVar("T")


def _either(given: T | UnsetType, before: T) -> T:
    return before if given is UNSET else given


class AmendBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is; null takes away what may be missing."""

    given_name: Name | UnsetType = UNSET
    family_name: Name | UnsetType | None = UNSET
    date_of_birth: date | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    mobile: Mobile | UnsetType | None = UNSET
    address: AddressBody | UnsetType = UNSET

    def amended(self, known: Person) -> Person:
        return Person(
            given_name=_either(self.given_name, known.given_name),
            family_name=_either(self.family_name, known.family_name),
            date_of_birth=_either(self.date_of_birth, known.date_of_birth),
            email=_either(self.email, known.email),
            mobile=_either(self.mobile, known.mobile),
            address=known.address if self.address is UNSET else self.address.address(),
        )


class ReasonBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


class RiskBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    risk: Risk
    reason: Reason


class DocumentView(msgspec.Struct, kw_only=True):
    """`number` is masked but for its last characters."""

    id: UUID
    type: DocumentType
    issuer: str
    number: str
    expires_on: date | None
    state: DocumentState
    added_by: str
    added_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None

    @classmethod
    def of(cls, document: Document) -> "DocumentView":
        return cls(
            id=document.id,
            type=document.type,
            issuer=document.issuer,
            number=document.number.masked,
            expires_on=document.expires_on,
            state=document.state,
            added_by=document.added_by,
            added_at=document.added_at,
            decided_by=document.decided_by,
            decided_at=document.decided_at,
            reason=document.reason,
        )


class RatingView(msgspec.Struct, kw_only=True):
    """Nobody has rated a risk without `rated_by`."""

    risk: Risk
    reason: str | None
    rated_by: str | None
    rated_at: datetime | None


class LikenessView(msgspec.Struct, kw_only=True):
    """Customers who may be the same person; an officer has decided that it is another if
    `decided_by` says who."""

    customers: list[UUID]
    reason: str | None
    decided_by: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, likeness: Likeness) -> "LikenessView":
        return cls(
            customers=list(likeness.customers),
            reason=likeness.reason,
            decided_by=likeness.by,
            decided_at=likeness.at,
        )


class AddressView(msgspec.Struct, kw_only=True):
    lines: list[str]
    city: str
    state: str | None
    postal_code: str | None
    country: str

    @classmethod
    def of(cls, address: Address) -> "AddressView":
        return cls(
            lines=list(address.lines),
            city=address.city,
            state=address.state,
            postal_code=address.postal_code,
            country=address.country,
        )


@published_as("cbs.customers.api.shapes.CustomerView")
class CustomerView(msgspec.Struct, kw_only=True):
    """`kyc` is what is true on the day of asking; who is `held` has no document verified."""

    id: UUID
    status: CustomerStatus
    status_reason: str | None
    kyc: Kyc
    rating: RatingView
    given_name: str
    family_name: str | None
    date_of_birth: date
    email: str | None
    mobile: str | None
    address: AddressView
    imported: bool
    registered_at: datetime
    documents: list[DocumentView]
    held: bool
    likeness: LikenessView

    @classmethod
    def on(cls, day: date, customer: Customer) -> "CustomerView":
        person, rating = customer.person, customer.rating
        return cls(
            id=customer.id,
            status=customer.status,
            status_reason=customer.status_reason,
            kyc=customer.kyc_on(day),
            rating=RatingView(
                risk=rating.risk, reason=rating.reason, rated_by=rating.by, rated_at=rating.at
            ),
            given_name=person.given_name,
            family_name=person.family_name,
            date_of_birth=person.date_of_birth,
            email=person.email,
            mobile=person.mobile,
            address=AddressView.of(person.address),
            imported=customer.imported,
            registered_at=customer.registered_at,
            documents=[DocumentView.of(each) for each in customer.documents],
            held=customer.likeness.undecided,
            likeness=LikenessView.of(customer.likeness),
        )


def standing_answer(day: date, customer: Customer) -> Answer:
    """The answer to a change of standing that has come about."""
    return Answer(status=200, body=msgspec.json.encode(CustomerView.on(day, customer)))
