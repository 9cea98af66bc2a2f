"""What customers refuses: first what is wrong with what is said, then what is known already."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from cbs.customers.application.customers import DocumentKnown
from cbs.customers.domain.customer import (
    DOCUMENTS_MAX,
    IMPORT,
    CustomerIsHeld,
    CustomerNotHeld,
    NoSuchCustomer,
    NoSuchDocument,
    SecondOfItsKind,
    TooManyDocuments,
)
from cbs.customers.domain.document import (
    DocumentDecided,
    DocumentExpired,
    ExpiryUnknown,
    NotADocumentNumber,
)
from cbs.customers.domain.issuer import NotAnIssuer
from cbs.customers.domain.person import (
    NotADateOfBirth,
    NotALine,
    NotAMobile,
    NotAnAddress,
    NotAnEmail,
    NotOfAge,
    Unreachable,
)
from cbs.customers.domain.standing import (
    CustomerHasAccounts,
    CustomerIsClosed,
    CustomerNotActive,
    CustomerNotSuspended,
    StandingUnderWay,
)
from cbs.kernel.calendar import business_date
from cbs.kernel.refusal import NotPermitted
from cbs.platform import saga
from cbs.platform.context import SOURCES, now
from tests.customers.conftest import HAVE_ACCOUNTS
from tests.customers.people import aadhaar, body, mobile
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
UNDER_WAY = "UPDATE customer SET standing_under_way = true WHERE id = $1"
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
    rule(NotAMobile, mobile="+9198765432"),
    rule(Unreachable, mobile=None),
    rule(NotOfAge, born=str(business_date(now()) - timedelta(days=365))),
)
FOR_AN_IMPORT = rule(NotPermitted, type="foreign-client-number")
SECOND, KNOWN = rule(SecondOfItsKind, second=True), rule(DocumentKnown, known=True)


@dataclass(kw_only=True)
class OfCustomer(Asked):
    """Of a customer who is active, suspended, closed or unknown, perhaps like another; `busy`:
    accounts have not answered yet, and `accounts`: they have one that is not closed."""

    customer: str = "active"
    reason: str = "court order"
    held: bool = False
    busy: bool = False
    accounts: bool = False

    async def path(self, served: Served, *papers: dict[str, Any]) -> dict[str, Any]:
        """The customer's id and, of the first paper, the document's."""
        if self.customer == "unknown":
            return {"customer_id": uuid4(), "document_id": uuid4()}
        async with served.client("chitra", *CLERK) as clerk:
            wanted = body(documents=list(papers))
            if self.held:
                await clerk.post(URL, json=wanted | {"documents": []})
            made = await clerk.post(URL, json=wanted)
            assert made.status_code == 201, made.text
            customer = made.json()
            for verb in {"active": [], "suspended": ["suspend"]}.get(
                self.customer, ["suspend", "close"]
            ):
                done = await clerk.post(f"{URL}/{customer['id']}/{verb}", json={"reason": "x"})
                assert done.status_code == 200, done.text
        documents = customer["documents"]
        database = served.service.runtime.postgres
        if self.busy:
            await database.execute(UNDER_WAY, customer["id"])
        if self.accounts:
            HAVE_ACCOUNTS.add(UUID(customer["id"]))
        return {
            "customer_id": customer["id"],
            "document_id": documents[0]["id"] if documents else uuid4(),
        }


@dataclass(kw_only=True)
class Suspended(OfCustomer):
    customer: str = "suspended"


@dataclass(kw_only=True)
class Held(OfCustomer):
    held: bool = True


@dataclass(kw_only=True)
class Personal:
    """What is said of a person."""

    family_name: str = "Rao"
    state: str | None = "Maharashtra"
    born: str = "1990-04-01"
    email: str = "asha@example.in"
    mobile: str | None = field(default_factory=mobile)

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
    second: bool = False


@dataclass(kw_only=True)
class Amendment(OfCustomer, Personal):
    pass


@dataclass(kw_only=True)
class Presentation(OfCustomer, Paper):
    papers_before: int = DOCUMENTS_MAX - 1
    second: bool = False


@dataclass(kw_only=True)
class Decision(OfCustomer):
    """Of a passport that is good for today only, and is decided a day late if it is `late`."""

    document: str = "pending"
    late: bool = False


def an_aadhaar() -> dict[str, Any]:
    return {"type": "aadhaar", "number": aadhaar()}


async def register(served: Served, asked: Registration) -> str:
    papers = [await asked.paper(served), *(an_aadhaar() for _ in range(2 * asked.second))]
    wanted = asked.person | {"documents": papers}
    return await over_http(served, "customers.register", asked, body=wanted)


async def amend(served: Served, asked: Amendment) -> str:
    path = await asked.path(served)
    return await over_http(served, "customers.amend", asked, path=path, body=asked.person)


async def add_document(served: Served, asked: Presentation) -> str:
    before = [await Paper().paper(served) for _ in range(asked.papers_before - asked.second)]
    if asked.second:
        before.append(an_aadhaar())
        asked.type, asked.number, asked.expires_on = "aadhaar", aadhaar(), None
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
        # Who must wait for accounts is told at once.
        with patch.object(saga, "WAIT_SECONDS_MAX", 0.0 if asked.busy else 5.0):
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
    rule(NoSuchDocument, document="unknown"),
    rule(DocumentDecided, document="decided"),
)
NOT_ACTIVE = rule(CustomerNotActive, customer="suspended")
BUSY = rule(StandingUnderWay, busy=True)
NOT_SUSPENDED = rule(CustomerNotSuspended, customer="active")

BOOK: RuleBook = {
    "customers.register": Operation(
        (*ALWAYS, USED_KEY, *OF_A_PAPER, *OF_A_PERSON, FOR_AN_IMPORT, SECOND, KNOWN),
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
            SECOND,
            KNOWN,
        ),
        Presentation,
        add_document,
    ),
    "customers.documents.verify": Operation(
        (
            *ALWAYS,
            USED_KEY,
            UNKNOWN,
            CLOSED,
            rule(CustomerIsHeld, held=True),
            *OF_A_DOCUMENT,
            rule(DocumentExpired, late=True),
        ),
        Decision,
        decide("verify"),
    ),
    "customers.documents.reject": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, *OF_A_DOCUMENT, NO_REASON),
        Decision,
        decide("reject"),
    ),
    "customers.rate": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NO_REASON),
        OfCustomer,
        with_reason("customers.rate", risk="high"),
    ),
    "customers.distinct": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, rule(CustomerNotHeld, held=False), NO_REASON),
        Held,
        with_reason("customers.distinct"),
    ),
    "customers.suspend": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NOT_ACTIVE, NO_REASON),
        OfCustomer,
        with_reason("customers.suspend"),
    ),
    "customers.reinstate": Operation(
        (*ALWAYS, USED_KEY, UNKNOWN, CLOSED, NOT_SUSPENDED, NO_REASON, BUSY),
        Suspended,
        with_reason("customers.reinstate"),
    ),
    "customers.close": Operation(
        (
            *ALWAYS,
            USED_KEY,
            UNKNOWN,
            CLOSED,
            NOT_SUSPENDED,
            NO_REASON,
            BUSY,
            rule(CustomerHasAccounts, accounts=True),
        ),
        Suspended,
        with_reason("customers.close"),
    ),
    "customers.read": Operation((*ALWAYS, UNKNOWN), OfCustomer, read),
    "customers.list": Operation(ALWAYS, Asked, listed),
    "cbs.customers.standing": Operation((*ALWAYS, UNKNOWN), OfCustomer, standing),
    **of_every_service("customers"),
}
