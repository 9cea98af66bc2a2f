"""What the routes of customers have in common: permissions, paths, refusals and the view."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from cbs.customers.application.customers import Customers
from cbs.customers.domain.customer import IMPORT, Customer
from cbs.customers.domain.document import (
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
from cbs.customers.http.shapes import CustomerView
from cbs.kernel.refusal import NotPermitted
from cbs.platform.bus import NotPermittedHook
from cbs.platform.context import current

READ, WRITE, VERIFY = "customers.read", "customers.write", "customers.verify"
CUSTOMER = "/v1/customers/{customer_id:uuid}"
OF_A_PERSON = (
    NotALine,
    NotAnAddress,
    NotADateOfBirth,
    NotAnEmail,
    NotAMobile,
    Unreachable,
    NotOfAge,
)
OF_A_PAPER = (ExpiryUnknown, NotAnIssuer, NotADocumentNumber, DocumentExpired)


def view_of(customers: Customers) -> Callable[[Customer], CustomerView]:
    return partial(CustomerView.on, customers.today)


@asynccontextmanager
async def telling(not_permitted: NotPermittedHook, operation: str) -> AsyncIterator[None]:
    """That somebody tried what only an import may do is a fact; no guard can see it."""
    try:
        yield
    except NotPermitted:
        await not_permitted(current().principal, IMPORT, operation)
        raise
