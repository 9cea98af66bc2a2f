import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Response

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.domain.product import OverdraftsOutOfOrder, Product, ProductKnown
from cbs.accounts.http.shapes import Code, NewProduct
from cbs.kernel.refusal import KeyReused
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


@get(
    "/v1/accounts/products",
    operation_id="accounts.products",
    summary="The products, by code",
    opt=needs("accounts.read"),
    responses=refusals(),
)
async def products(
    accounts: NamedDependency[Accounts], cursor: Cursor = "", limit: Limit = PAGE_ITEMS_DEFAULT
) -> Page[Product]:
    after = place_of(cursor, tuple[Code])[0] if cursor else ""
    found = await accounts.products.page(after=after, limit=limit)
    return page_of(found, limit, lambda last: cursor_of(last.code))


@post(
    "/v1/accounts/products",
    operation_id="accounts.add-product",
    summary="Offer a new product",
    opt=needs("accounts.products"),
    responses=refusals(OverdraftsOutOfOrder, KeyReused, ProductKnown),
)
async def add_product(
    data: JSONBody[NewProduct], once: NamedDependency[Once], accounts: NamedDependency[Accounts]
) -> Response[Product]:
    product = Product(**msgspec.structs.asdict(data))
    return await once(lambda: accounts.add_product(product), lambda kept: kept, status=201)


PRODUCT_ROUTES = [products, add_product]
