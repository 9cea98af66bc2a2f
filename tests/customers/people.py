"""People and papers for tests: valid ones, a new one each time."""

from datetime import UTC, date, datetime
from itertools import count
from uuid import UUID

from stdnum import verhoeff

from cbs.customers.domain.document import Document, DocumentType
from cbs.customers.domain.person import Address, Person
from cbs.platform.context import new_id

_serials = count(1)


def pan() -> str:
    """A PAN that nobody in this test session has: a person's, of the form that stdnum checks."""
    serial = next(_serials)
    return f"ABCP{chr(65 + serial // 9999 % 26)}{serial % 9999 + 1:04}K"


def aadhaar() -> str:
    body = f"23412{next(_serials):06}"
    return body + verhoeff.calc_check_digit(body)


def mobile() -> str:
    """A mobile number that nobody in this test session has."""
    return f"+9198{next(_serials):08}"


def person(**changed) -> Person:
    return Person(
        **{
            "given_name": "Asha",
            "family_name": "Rao",
            "date_of_birth": date(1990, 4, 1),
            "email": "asha@example.in",
            "mobile": "+919876543210",
            "address": Address(
                lines=("12 MG Road",), city="Pune", state="Maharashtra", postal_code="411001"
            ),
            **changed,
        }
    )


def presented(**changed) -> Document:
    return Document.present(
        **{
            "id": some_id(),
            "type": DocumentType.PAN,
            "issuer": "IN",
            "number": pan(),
            "expires_on": None,
            "by": "asha",
            "at": datetime(2026, 11, 23, 6, tzinfo=UTC),
            "today": date(2026, 11, 23),
            **changed,
        }
    )


def voter(**changed) -> Document:
    """A paper of which somebody may have several."""
    number = f"V{next(_serials)}"
    return presented(**{"type": DocumentType.VOTER_ID, "number": number, **changed})


def body(**changed) -> dict:
    """A registration as it is asked for over HTTP, of somebody whom nobody is like."""
    return {
        "given_name": "Asha",
        "family_name": "Rao",
        "date_of_birth": "1990-04-01",
        "mobile": mobile(),
        "address": {
            "lines": ["12 MG Road"],
            "city": "Pune",
            "state": "Maharashtra",
            "postal_code": "411001",
        },
        **changed,
    }


def some_id() -> UUID:
    return new_id()
