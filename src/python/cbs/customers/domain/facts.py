"""What listeners learn of a customer: ids and standing. Names and numbers stay here."""

from dataclasses import dataclass
from uuid import UUID

from cbs.customers.domain.document import DocumentType
from cbs.customers.domain.kyc import Kyc, Risk
from cbs.kernel.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRegistered(Event):
    """A person has become a customer; until a document is verified they can open nothing."""

    fact = "customer-registered"
    about = "customer_id"

    customer_id: UUID
    imported: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerAmended(Event):
    """What is known of a customer has changed in these fields."""

    fact = "customer-amended"
    about = "customer_id"

    customer_id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerHeld(Event):
    """These customers may be the same person: no document is verified until an officer decides."""

    fact = "customer-held"
    about = "customer_id"

    customer_id: UUID
    alike: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFoundDistinct(Event):
    """An officer has found that a customer is none of those who are like them."""

    fact = "customer-found-distinct"
    about = "customer_id"

    customer_id: UUID
    alike: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAdded(Event):
    """A customer has presented a document."""

    fact = "document-added"
    about = "customer_id"

    customer_id: UUID
    document_id: UUID
    type: DocumentType


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentVerified(Event):
    """An officer has found a document genuine and its holder's."""

    fact = "document-verified"
    about = "customer_id"

    customer_id: UUID
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRejected(Event):
    """An officer has found that a document does not vouch for the customer."""

    fact = "document-rejected"
    about = "customer_id"

    customer_id: UUID
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class KycStatusChanged(Event):
    """Whether the bank knows who this is has changed."""

    fact = "kyc-status-changed"
    about = "customer_id"

    customer_id: UUID
    before: Kyc
    kyc: Kyc


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRated(Event):
    """An officer has rated the risk that a customer is to the bank."""

    fact = "risk-rated"
    about = "customer_id"

    customer_id: UUID
    before: Risk
    risk: Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerSuspended(Event):
    """A customer may begin nothing new until they are reinstated, and nothing leaves their
    accounts."""

    fact = "customer-suspended"
    about = "customer_id"

    customer_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerReinstated(Event):
    """A suspended customer is as before."""

    fact = "customer-reinstated"
    about = "customer_id"

    customer_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerClosed(Event):
    """The bank and a suspended customer have parted for good."""

    fact = "customer-closed"
    about = "customer_id"

    customer_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecorded(Event):
    """All that is kept of a customer has this digest; with its salt, nothing can be guessed."""

    fact = "customer-recorded"
    about = "customer_id"

    customer_id: UUID
    digest: str


FACTS: tuple[type[Event], ...] = (
    CustomerRegistered,
    CustomerAmended,
    CustomerHeld,
    CustomerFoundDistinct,
    DocumentAdded,
    DocumentVerified,
    DocumentRejected,
    KycStatusChanged,
    RiskRated,
    CustomerSuspended,
    CustomerReinstated,
    CustomerClosed,
    CustomerRecorded,
)
