"""What customers refuses: first what is wrong with what is said, then what is known already."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from cbs.customers.application.customers import DocumentKnown, NoSuchCustomer
from cbs.customers.domain.customer import (
    DOCUMENTS_MAX,
    IMPORT,
    CustomerIsClosed,
    CustomerNotActive,
    CustomerNotSuspended,
    NoSuchDocument,
    TooManyDocuments,
)
from cbs.customers.domain.document import (
    DocumentDecided,
    DocumentExpired,
    ExpiryUnknown,
    NotADocumentNumber,
    NotAnIssuer,
)
from cbs.customers.domain.person import (
    NotADateOfBirth,
    NotALine,
    NotAnAddress,
    NotAnEmail,
    NotOfAge,
    Unreachable,
)
from cbs.kernel.calendar import business_date
from cbs.kernel.refusal import NotPermitted
from cbs.platform.context import SOURCES, now
from tests.customers.people import body
from tests.platform.refusals import of_every_service
from tests.refusals import (
    ALWAYS,
    USED_KEY,
    Asked,
    Operation,
    RuleBook,
    on_the_bus,
    over_http,
    rule,
)
from tests.serving import Served

CLERK = ("customers.read", "customers.write", "customers.verify")
URL, DAY_NS = "/v1/customers", 86_400 * 10**9
SERIALS = count(1)

UNKNOWN = rule(NoSuchCustomer, customer="unknown")
CLOSED = rule(CustomerIsClosed, customer="closed")
NO_REASON = rule(NotALine, reason=" ")
OF_A_PAPER = (
    rule(ExpiryUnknown, expires_on=None),
    rule(NotAnIssuer, issuer="!!"),
    rule(NotADocumentNumber, number="!"),
    rule(DocumentExpired, expires_on="2001-01-01"),
)
OF_A_PERSON = (
    rule(NotALine, family_name="\t"),
    rule(NotAnAddress, state=None),
    rule(NotADateOfBirth, born="1899-12-31"),
    rule(NotAnEmail, email="nobody"),
    rule(Unreachable, mobile=None),
    rule(NotOfAge, born=str(business_date(now()) - timedelta(days=365))),
)
FOR_AN_IMPORT = rule(NotPermitted, type="foreign-client-number")
KNOWN = rule(DocumentKnown, known=True)


@dataclass(kw_only=True)
class OfCustomer(Asked):
    """Of a customer who is active, suspended, closed or unknown."""

    customer: str = "active"
    reason: str = "court order"

    async def path(self, served: Served, *papers: dict[str, Any]) -> dict[str, Any]:
        """The customer's id and, of the first paper, the document's."""
        if self.customer == "unknown":
            return {"customer_id": uuid4(), "document_id": uuid4()}
        async with served.client("chitra", *CLERK) as clerk:
            made = await clerk.post(URL, json=body(documents=list(papers)))
            assert made.status_code == 201, made.text
            customer = made.json()
            for verb in {"active": [], "suspended": ["suspend"]}.get(
                self.customer, ["suspend", "close"]
            ):
                done = await clerk.post(f"{URL}/{customer['id']}/{verb}", json={"reason": "x"})
                assert done.status_code == 200, done.text
        documents = customer["documents"]
        return {
            "customer_id": customer["id"],
            "document_id": documents[0]["id"] if documents else uuid4(),
        }


@dataclass(kw_only=True)
class Suspended(OfCustomer):
    customer: str = "suspended"


@dataclass(kw_only=True)
class Personal:
    """What is said of a person."""

    family_name: str = "Rao"
    state: str | None = "Maharashtra"
    born: str = "1990-04-01"
    email: str = "asha@example.in"
    mobile: str | None = "+919876543210"

    @property
    def person(self) -> dict[str, Any]:
        person = body(family_name=self.family_name, date_of_birth=self.born)
        address = person["address"] | {"state": self.state}
        return {**person, "email": self.email, "mobile": self.mobile, "address": address}


@dataclass(kw_only=True)
class Paper:
    """A document that is presented; `known`: somebody else did so before."""

    type: str = "passport"
    issuer: str = "IN"
    number: str = field(default_factory=lambda: f"M{next(SERIALS):07}")
    expires_on: str | None = "2999-12-31"
    known: bool = False

    async def paper(self, served: Served) -> dict[str, Any]:
        paper = {
            "type": self.type,
            "issuer": self.issuer,
            "number": self.number,
            "expires_on": self.expires_on,
        }
        if self.known:
            async with served.client("migration", *CLERK, IMPORT) as migration:
                answer = await migration.post(URL, json=body(documents=[paper]))
            assert answer.status_code == 201, answer.text
        return paper


@dataclass(kw_only=True)
class Registration(Asked, Personal, Paper):
    pass


@dataclass(kw_only=True)
class Amendment(OfCustomer, Personal):
    pass


@dataclass(kw_only=True)
class Presentation(OfCustomer, Paper):
    papers_before: int = DOCUMENTS_MAX - 1


@dataclass(kw_only=True)
class Decision(OfCustomer):
    """Of a passport that is good for today only, and is decided a day late if it is `late`."""

    document: str = "pending"
    late: bool = False


async def register(served: Served, asked: Registration) -> str:
    wanted = asked.person | {"documents": [await asked.paper(served)]}
    return await over_http(served, "customers.register", asked, body=wanted)


async def amend(served: Served, asked: Amendment) -> str:
    path = await asked.path(served)
    return await over_http(served, "customers.amend", asked, path=path, body=asked.person)


async def add_document(served: Served, asked: Presentation) -> str:
    before = [await Paper().paper(served) for _ in range(asked.papers_before)]
    path = await asked.path(served, *before)
    wanted = await asked.paper(served)
    return await over_http(served, "customers.documents.add", asked, path=path, body=wanted)


def decide(verb: str) -> Callable[[Served, Decision], Awaitable[str]]:
    async def ask(served: Served, asked: Decision) -> str:
        today = Paper(expires_on=str(business_date(now())))
        path = await asked.path(served, await today.paper(served))
        if asked.document == "unknown":
            path["document_id"] = uuid4()
        if asked.document == "decided":
            async with served.client("chitra", *CLERK) as clerk:
                url = f"{URL}/{path['customer_id']}/documents/{path['document_id']}/reject"
                assert (await clerk.post(url, json={"reason": "x"})).status_code == 200
        wanted = {"reason": asked.reason} if verb == "reject" else None
        days, clock = int(asked.late), SOURCES.time_ns
        with patch.object(SOURCES, "time_ns", lambda: clock() + days * DAY_NS):
            return await over_http(
                served, f"customers.documents.{verb}", asked, path=path, body=wanted
            )

    return ask


def with_reason(operation: str, **more: str) -> Callable[[Served, OfCustomer], Awaitable[str]]:
    async def ask(served: Served, asked: OfCustomer) -> str:
        path, wanted = await asked.path(served), {"reason": asked.reason, **more}
        return await over_http(served, operation, asked, path=path, body=wanted)

    return ask


async def read(served: Served, asked: OfCustomer) -> str:
    return await over_http(served, "customers.read", asked, path=await asked.path(served))


async def listed(served: Served, asked: Asked) -> str:
    return await over_http(served, "customers.list", asked)


async def standing(served: Served, asked: OfCustomer) -> str:
    wanted = {"customer_id": (await asked.path(served))["customer_id"]}
    return await on_the_bus(served, "standing", asked, wanted)


OF_A_DOCUMENT = (
    UNKNOWN,
    CLOSED,
    rule(NoSuchDocument, document="unknown"),
    rule(DocumentDecided, document="decided"),
)
NOT_ACTIVE = rule(CustomerNotActive, customer="suspended")
NOT_SUSPENDED = rule(CustomerNotSuspended, customer="active")

BOOK: RuleBook = {
    "customers.register": Operation(
        (*ALWAYS, USED_KEY, *OF_A_PAPER, *OF_A_PERSON, FOR_AN_IMPORT, KNOWN),
        Registration,
        register,
    ),
    "customers.amend": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, *OF_A_PERSON), Amendment, amend
    ),
    "customers.documents.add": Operation(
        (
            *ALWAYS,
            USED_KEY,
            *OF_A_PAPER,
            UNKNOWN,
            CLOSED,
            FOR_AN_IMPORT,
            rule(TooManyDocuments, papers_before=DOCUMENTS_MAX),
            KNOWN,
        ),
        Presentation,
        add_document,
    ),
    "customers.documents.verify": Operation(
        (*ALWAYS, USED_KEY, *OF_A_DOCUMENT, rule(DocumentExpired, late=True)),
        Decision,
        decide("verify"),
    ),
    "customers.documents.reject": Operation(
        (*ALWAYS, USED_KEY, *OF_A_DOCUMENT, NO_REASON), Decision, decide("reject")
    ),
    "customers.rate": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NO_REASON),
        OfCustomer,
        with_reason("customers.rate", risk="high"),
    ),
    "customers.suspend": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NOT_ACTIVE, NO_REASON),
        OfCustomer,
        with_reason("customers.suspend"),
    ),
    "customers.reinstate": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NOT_SUSPENDED, NO_REASON),
        Suspended,
        with_reason("customers.reinstate"),
    ),
    "customers.close": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NOT_SUSPENDED, NO_REASON),
        Suspended,
        with_reason("customers.close"),
    ),
    "customers.read": Operation((*ALWAYS, UNKNOWN), OfCustomer, read),
    "customers.list": Operation(ALWAYS, Asked, listed),
    "cbs.customers.standing": Operation((*ALWAYS, UNKNOWN), OfCustomer, standing),
    **of_every_service("customers"),
}
