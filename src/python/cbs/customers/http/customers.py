from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from litestar import get, patch, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Response

from cbs.customers.application.customers import Customers, DocumentKnown
from cbs.customers.domain.customer import CustomerNotHeld, NoSuchCustomer, SecondOfItsKind
from cbs.customers.domain.person import NAME_CHARACTERS_MAX, NotALine
from cbs.customers.domain.standing import (
    CustomerHasAccounts,
    CustomerIsClosed,
    CustomerNotActive,
    CustomerNotSuspended,
    StandingChange,
    StandingUnderWay,
)
from cbs.customers.http.answers import (
    CUSTOMER,
    OF_A_PAPER,
    OF_A_PERSON,
    READ,
    VERIFY,
    WRITE,
    telling,
    view_of,
)
from cbs.customers.http.documents import DOCUMENT_ROUTES
from cbs.customers.http.shapes import (
    MOBILE_FORM,
    AmendBody,
    CustomerView,
    ReasonBody,
    RegisterBody,
    RiskBody,
)
from cbs.kernel.refusal import KeyReused, Refusal
from cbs.kernel.saga import Saga
from cbs.platform.bus import NotPermittedHook
from cbs.platform.context import current
from cbs.platform.http import Once, needs
from cbs.platform.paging import (
    PAGE_ITEMS_DEFAULT,
    Cursor,
    Limit,
    Page,
    cursor_of,
    page_of,
    place_of,
)
from cbs.platform.problem import refusals
from cbs.platform.saga import Sagas

FIRST = UUID(int=0)

# PostgreSQL takes no NUL, and nobody is called by a control character.
WRITABLE = r"^[^\u0000-\u001f]+$(?!\n)"

NameBegins = Annotated[
    str | None, QueryParameter(name="name", max_length=NAME_CHARACTERS_MAX, pattern=WRITABLE)
]
OfMobile = Annotated[
    str | None,
    QueryParameter(
        name="mobile",
        pattern=MOBILE_FORM,
        description="With its +, which a query says as %2B: a plain one is a space.",
    ),
]

Held = Annotated[
    bool,
    QueryParameter(name="held", description="Only who waits for a decision on their likeness."),
]


@post(
    "/v1/customers",
    operation_id="customers.register",
    summary="Register a customer, with documents or without",
    opt=needs(WRITE),
    responses=refusals(KeyReused, *OF_A_PAPER, *OF_A_PERSON, SecondOfItsKind, DocumentKnown),
)
async def register(
    data: JSONBody[RegisterBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
    not_permitted: NamedDependency[NotPermittedHook],
) -> Response[CustomerView]:
    async with telling(not_permitted, "POST /v1/customers"):
        return await once(
            lambda: customers.register(
                person=data.person(),
                documents=[each.presented() for each in data.documents],
                by=current().principal,
            ),
            view_of(customers),
            status=201,
        )


@get(
    CUSTOMER,
    operation_id="customers.read",
    summary="A customer with their documents, numbers masked",
    opt=needs(READ),
    responses=refusals(NoSuchCustomer),
)
async def read(customer_id: FromPath[UUID], customers: NamedDependency[Customers]) -> CustomerView:
    return view_of(customers)(await customers.get(customer_id))


@get(
    "/v1/customers",
    operation_id="customers.list",
    summary="Customers, oldest first; those whose name or family name begins so, of this mobile"
    " number, or who wait for a decision",
    opt=needs(READ),
    responses=refusals(),
)
async def list_customers(
    customers: NamedDependency[Customers],
    name: NameBegins = None,
    mobile: OfMobile = None,
    held: Held = False,
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[CustomerView]:
    (after,) = place_of(cursor, tuple[UUID]) if cursor else (FIRST,)
    found = await customers.list(after=after, limit=limit, name=name, mobile=mobile, held=held)
    view = view_of(customers)
    return page_of([view(each) for each in found], limit, lambda last: cursor_of(last.id))


@patch(
    CUSTOMER,
    operation_id="customers.amend",
    summary="Amend what is known of a customer; a new name or birthday is verified again",
    opt=needs(WRITE),
    responses=refusals(KeyReused, NoSuchCustomer, CustomerIsClosed, *OF_A_PERSON),
)
async def amend(
    customer_id: FromPath[UUID],
    data: JSONBody[AmendBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
) -> Response[CustomerView]:
    return await once(
        lambda: customers.amend(customer_id=customer_id, change=data.amended), view_of(customers)
    )


@put(
    CUSTOMER + "/risk",
    operation_id="customers.rate",
    summary="Rate the risk that a customer is to the bank",
    opt=needs(VERIFY),
    responses=refusals(KeyReused, NoSuchCustomer, CustomerIsClosed, NotALine),
)
async def rate(
    customer_id: FromPath[UUID],
    data: JSONBody[RiskBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
) -> Response[CustomerView]:
    return await once(
        lambda: customers.rate(
            customer_id=customer_id, risk=data.risk, reason=data.reason, by=current().principal
        ),
        view_of(customers),
    )


@post(
    CUSTOMER + "/distinct",
    operation_id="customers.distinct",
    summary="Decide that a customer is none of those who are like them",
    status_code=200,
    opt=needs(VERIFY),
    responses=refusals(KeyReused, NoSuchCustomer, CustomerIsClosed, CustomerNotHeld, NotALine),
)
async def distinct(
    customer_id: FromPath[UUID],
    data: JSONBody[ReasonBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
) -> Response[CustomerView]:
    return await once(
        lambda: customers.found_distinct(
            customer_id=customer_id, reason=data.reason, by=current().principal
        ),
        view_of(customers),
    )


def _standing_route(
    verb: str,
    permission: str,
    summary: str,
    begin: Callable[..., Awaitable[Saga[StandingChange]]],
    *refused: type[Refusal],
) -> HTTPRouteHandler:
    @post(
        f"{CUSTOMER}/{verb}",
        operation_id=f"customers.{verb}",
        summary=summary,
        status_code=200,
        opt=needs(permission),
        responses=refusals(KeyReused, NoSuchCustomer, CustomerIsClosed, *refused),
    )
    async def change_standing(
        customer_id: FromPath[UUID],
        data: JSONBody[ReasonBody],
        once: NamedDependency[Once],
        customers: NamedDependency[Customers],
        sagas: NamedDependency[Sagas],
    ) -> Response[CustomerView]:
        return await once.by_saga(
            sagas,
            lambda requester: begin(
                customers, customer_id=customer_id, reason=data.reason, requester=requester
            ),
        )

    return change_standing


suspend = _standing_route(
    "suspend",
    WRITE,
    "Let a customer begin nothing new, and nothing leave their accounts from the answer on",
    Customers.suspend,
    CustomerNotActive,
    NotALine,
)
reinstate = _standing_route(
    "reinstate",
    VERIFY,
    "Let a suspended customer go on as before",
    Customers.reinstate,
    CustomerNotSuspended,
    NotALine,
    StandingUnderWay,
)
close = _standing_route(
    "close",
    VERIFY,
    "Part for good with a suspended customer whose accounts are closed",
    Customers.close,
    CustomerNotSuspended,
    NotALine,
    StandingUnderWay,
    CustomerHasAccounts,
)

ROUTES = [
    register,
    read,
    list_customers,
    amend,
    *DOCUMENT_ROUTES,
    rate,
    distinct,
    suspend,
    reinstate,
    close,
]
