"""Whether the bank knows its customer follows from the documents and the day, and nothing else."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from cbs.customers.domain.document import Document, DocumentState


class Kyc(StrEnum):
    PENDING = "pending"
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Risk(StrEnum):
    """The categories of RBI's Master Direction on KYC (2016), section 12."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def kyc_on(day: date, documents: Sequence[Document]) -> Kyc:
    """One verified document that is good on this day is enough."""
    verified = [each for each in documents if each.state is DocumentState.VERIFIED]
    if any(each.good_on(day) for each in verified):
        return Kyc.VERIFIED
    if verified:
        return Kyc.EXPIRED
    if documents and all(each.state is DocumentState.REJECTED for each in documents):
        return Kyc.REJECTED
    return Kyc.PENDING


def verified_until(documents: Sequence[Document]) -> date:
    """The last day on which a verified document is good; date.max if one never expires."""
    return max(
        (each.expires_on or date.max for each in documents if each.state is DocumentState.VERIFIED),
        default=date.min,
    )
