from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Response

from cbs.customers.application.customers import Customers, DocumentKnown
from cbs.customers.domain.customer import (
    CustomerIsHeld,
    NoSuchCustomer,
    NoSuchDocument,
    SecondOfItsKind,
    TooManyDocuments,
)
from cbs.customers.domain.document import DocumentDecided, DocumentExpired
from cbs.customers.domain.person import NotALine
from cbs.customers.domain.standing import CustomerIsClosed
from cbs.customers.http.answers import CUSTOMER, OF_A_PAPER, VERIFY, WRITE, telling, view_of
from cbs.customers.http.shapes import CustomerView, DocumentBody, ReasonBody
from cbs.kernel.refusal import KeyReused
from cbs.platform.bus import NotPermittedHook
from cbs.platform.context import current
from cbs.platform.http import Once, needs
from cbs.platform.problem import refusals

DOCUMENT = CUSTOMER + "/documents/{document_id:uuid}"


@post(
    CUSTOMER + "/documents",
    operation_id="customers.documents.add",
    summary="Present a document",
    opt=needs(WRITE),
    responses=refusals(
        KeyReused,
        *OF_A_PAPER,
        NoSuchCustomer,
        CustomerIsClosed,
        TooManyDocuments,
        SecondOfItsKind,
        DocumentKnown,
    ),
)
async def add_document(
    customer_id: FromPath[UUID],
    data: JSONBody[DocumentBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
    not_permitted: NamedDependency[NotPermittedHook],
) -> Response[CustomerView]:
    async with telling(not_permitted, f"POST {CUSTOMER}/documents"):
        return await once(
            lambda: customers.add_document(
                customer_id=customer_id, presented=data.presented(), by=current().principal
            ),
            view_of(customers),
            status=201,
        )


@post(
    DOCUMENT + "/verify",
    operation_id="customers.documents.verify",
    summary="Find a document genuine and its holder's",
    status_code=200,
    opt=needs(VERIFY),
    responses=refusals(
        KeyReused,
        NoSuchCustomer,
        CustomerIsClosed,
        CustomerIsHeld,
        NoSuchDocument,
        DocumentDecided,
        DocumentExpired,
    ),
)
async def verify_document(
    customer_id: FromPath[UUID],
    document_id: FromPath[UUID],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
) -> Response[CustomerView]:
    return await once(
        lambda: customers.verify(
            customer_id=customer_id, document_id=document_id, by=current().principal
        ),
        view_of(customers),
    )


@post(
    DOCUMENT + "/reject",
    operation_id="customers.documents.reject",
    summary="Find that a document does not vouch for its holder",
    status_code=200,
    opt=needs(VERIFY),
    responses=refusals(
        KeyReused, NoSuchCustomer, CustomerIsClosed, NoSuchDocument, DocumentDecided, NotALine
    ),
)
async def reject_document(
    customer_id: FromPath[UUID],
    document_id: FromPath[UUID],
    data: JSONBody[ReasonBody],
    once: NamedDependency[Once],
    customers: NamedDependency[Customers],
) -> Response[CustomerView]:
    return await once(
        lambda: customers.reject(
            customer_id=customer_id,
            document_id=document_id,
            reason=data.reason,
            by=current().principal,
        ),
        view_of(customers),
    )


DOCUMENT_ROUTES = [add_document, verify_document, reject_document]
