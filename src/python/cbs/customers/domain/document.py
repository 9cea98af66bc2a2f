"""A document vouches for who a customer is, from when an officer has verified it until it expires.

Numbers are checked against the forms that their issuers publish (python-stdnum: PAN after the
Income Tax Department, Aadhaar with UIDAI's Verhoeff digit) and kept in one form, so that the same
number is found again however it was typed. Who gave it out has one form, too.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from stdnum.exceptions import ValidationError
from stdnum.in_ import aadhaar, pan

from cbs.customers.domain.issuer import (
    HOME,
    NotAnIssuer,
    bank_of,
    country_of,
    country_or_state_of,
    spellings,
)
from cbs.customers.domain.person import REASON_CHARACTERS_MAX, line
from cbs.kernel.refusal import Refusal

NUMBER_CHARACTERS_MAX = 32
SHOWN_CHARACTERS_MAX = 4
INDIVIDUAL = "P"
SEPARATORS = re.compile(r"[\s./-]+")
NUMBER = re.compile(rf"[A-Z0-9]{{1,{NUMBER_CHARACTERS_MAX}}}", re.ASCII)


class DocumentType(StrEnum):
    PAN = "pan"
    AADHAAR = "aadhaar"
    PASSPORT = "passport"
    VOTER_ID = "voter-id"
    DRIVING_LICENCE = "driving-licence"
    FOREIGN_CLIENT_NUMBER = "foreign-client-number"


NATIONAL = {DocumentType.PAN, DocumentType.AADHAAR}
# An Indian licence has its state in its number, a voter's number may be given out in two states.
OF_A_STATE = {DocumentType.VOTER_ID, DocumentType.DRIVING_LICENCE}
EXPIRING = {DocumentType.PASSPORT, DocumentType.DRIVING_LICENCE}
IMPORTED_ONLY = {DocumentType.FOREIGN_CLIENT_NUMBER}


class DocumentState(StrEnum):
    PENDING = "pending"
    VERIFIED = "verified"
    REJECTED = "rejected"


class NotADocumentNumber(Refusal):
    """The number is not one that the issuer of such a document gives out."""

    code = "not-a-document-number"


class ExpiryUnknown(Refusal):
    """A document of this type expires: say when."""

    code = "expiry-unknown"


class DocumentExpired(Refusal):
    """The document has expired."""

    code = "document-expired"


class DocumentDecided(Refusal):
    """The document was verified or rejected before; a rejected one stays so."""

    code = "document-decided"


@dataclass(frozen=True, slots=True)
class Number:
    """A document's number, which shows itself masked wherever it is printed."""

    whole: str = field(repr=False)

    @property
    def masked(self) -> str:
        """The last four characters, or half of a short number, behind as many X as are hidden."""
        shown = min(SHOWN_CHARACTERS_MAX, len(self.whole) // 2)
        hidden = len(self.whole) - shown
        return "X" * hidden + self.whole[hidden:]

    def __str__(self) -> str:
        return self.masked


def number_of(type: DocumentType, text: str) -> Number:
    """The number in the one form it is kept in; raises NotADocumentNumber without repeating it."""
    if type is DocumentType.PAN:
        return Number(_pan(text))
    if type is DocumentType.AADHAAR:
        return Number(_aadhaar(text))
    number = SEPARATORS.sub("", text).upper()
    if not NUMBER.fullmatch(number):
        raise NotADocumentNumber(type)
    return Number(number)


def _pan(text: str) -> str:
    try:
        number = pan.validate(text)
    except ValidationError:
        raise NotADocumentNumber(DocumentType.PAN) from None
    if number[3] != INDIVIDUAL:
        raise NotADocumentNumber("pan: not a person's")
    return number


def _aadhaar(text: str) -> str:
    try:
        number = aadhaar.validate(text)
    except ValidationError:
        raise NotADocumentNumber(DocumentType.AADHAAR) from None
    return number


def issuer_of(type: DocumentType, text: str) -> str:
    """Who gave it out, in one form; raises NotAnIssuer."""
    if type is DocumentType.FOREIGN_CLIENT_NUMBER:
        return bank_of(text)
    if type in OF_A_STATE:
        return country_or_state_of(text)
    country = country_of(text)
    if type in NATIONAL and country != HOME:
        raise NotAnIssuer
    return country


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """`expires_on` is the last day on which it is good; None if it is good for ever."""

    id: UUID
    type: DocumentType
    issuer: str
    number: Number
    expires_on: date | None
    added_by: str
    added_at: datetime
    state: DocumentState = DocumentState.PENDING
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None

    @classmethod
    def present(
        cls,
        *,
        id: UUID,
        type: DocumentType,
        issuer: str,
        number: str,
        expires_on: date | None,
        by: str,
        at: datetime,
        today: date,
    ) -> "Document":
        if type in EXPIRING and expires_on is None:
            raise ExpiryUnknown
        document = cls(
            id=id,
            type=type,
            issuer=issuer_of(type, issuer),
            number=number_of(type, number),
            expires_on=expires_on,
            added_by=by,
            added_at=at,
        )
        if not document.good_on(today):
            raise DocumentExpired
        return document

    @property
    def name(self) -> tuple[DocumentType, str, Number]:
        """Equal for two papers that are one document."""
        licence = self.type is DocumentType.DRIVING_LICENCE
        return self.type, self.issuer[:2] if licence else self.issuer, self.number

    @property
    def former_names(self) -> list[tuple[DocumentType, str, Number]]:
        """Under which a release that took any issuer may have kept it."""
        licence = self.type is DocumentType.DRIVING_LICENCE
        spelt = spellings(self.issuer, with_states=licence)
        return [(self.type, issuer, self.number) for issuer in spelt]

    def good_on(self, day: date) -> bool:
        return self.expires_on is None or day <= self.expires_on

    def verify(self, *, by: str, at: datetime, today: date) -> "Document":
        if self.state is not DocumentState.PENDING:
            raise DocumentDecided
        if not self.good_on(today):
            raise DocumentExpired
        return replace(self, state=DocumentState.VERIFIED, decided_by=by, decided_at=at)

    def reject(self, *, reason: str, by: str, at: datetime) -> "Document":
        """A verified document, too, may turn out to be false."""
        if self.state is DocumentState.REJECTED:
            raise DocumentDecided
        return replace(
            self,
            state=DocumentState.REJECTED,
            decided_by=by,
            decided_at=at,
            reason=line(reason, characters_max=REASON_CHARACTERS_MAX),
        )

    def reopened(self) -> "Document":
        """To be looked at again, because it vouched for somebody else than its holder is now."""
        if self.state is not DocumentState.VERIFIED:
            return self
        return replace(self, state=DocumentState.PENDING, decided_by=None, decided_at=None)
