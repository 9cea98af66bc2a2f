from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Response

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.book import Period, Statements
from cbs.accounts.domain.account import (
    Account,
    AccountIsFrozen,
    AccountNotEmpty,
    AccountNotOpen,
    ChangeUnderWay,
    CustomerNotActive,
    CustomerNotVerified,
    FloorAboveBalance,
    NoSuchAccount,
    NoSuchCustomer,
)
from cbs.accounts.domain.product import NoSuchProduct, OverdraftOutOfRange, ProductWithdrawn
from cbs.accounts.http.shapes import (
    AccountFound,
    AccountView,
    Because,
    NewLimits,
    OfNumber,
    OpenAccount,
    PostingView,
    Seq,
)
from cbs.kernel.account_number import is_account_number
from cbs.kernel.refusal import KeyReused
from cbs.platform.http import Once, needs
from cbs.platform.paging import (
    PAGE_ITEMS_DEFAULT,
    Cursor,
    Limit,
    Page,
    check_order,
    cursor_of,
    page_of,
    place_of,
)
from cbs.platform.problem import refusals
from cbs.platform.saga import Sagas

FIRST = UUID(int=0)


class By(StrEnum):
    BOOKING = "booking"
    VALUE = "value"


@post(
    "/v1/accounts",
    operation_id="accounts.open",
    summary="Open an account for a verified customer",
    opt=needs("accounts.write"),
    responses=refusals(
        KeyReused,
        NoSuchProduct,
        ProductWithdrawn,
        OverdraftOutOfRange,
        NoSuchCustomer,
        CustomerNotVerified,
        CustomerNotActive,
    ),
)
async def open_account(
    data: JSONBody[OpenAccount],
    once: NamedDependency[Once],
    accounts: NamedDependency[Accounts],
    sagas: NamedDependency[Sagas],
) -> Response[AccountView]:
    return await once.by_saga(
        sagas,
        lambda requester: accounts.open(
            customer_id=data.customer_id,
            product=data.product,
            branch=data.branch,
            overdraft_minor=data.overdraft_minor,
            requester=requester,
        ),
    )


@get(
    "/v1/accounts",
    operation_id="accounts.list",
    summary="The accounts of a customer, oldest first, with their balances",
    opt=needs("accounts.read"),
    responses=refusals(),
)
async def accounts_of_customer(
    accounts: NamedDependency[Accounts],
    customer_id: Annotated[UUID, QueryParameter(name="customer_id")],
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[AccountFound]:
    after = place_of(cursor, tuple[UUID])[0] if cursor else FIRST
    found = await accounts.accounts.page(customer_id=customer_id, after=after, limit=limit)
    views = await _with_balances(accounts, found)
    return page_of(views, limit, lambda last: cursor_of(last.id))


@get(
    "/v1/accounts/{account_id:uuid}",
    operation_id="accounts.get",
    summary="One account, with its balance",
    opt=needs("accounts.read"),
    responses=refusals(NoSuchAccount),
)
async def account(account_id: FromPath[UUID], accounts: NamedDependency[Accounts]) -> AccountFound:
    return (await _with_balances(accounts, [await accounts.get(account_id)]))[0]


@get(
    "/v1/accounts/by-number/{number:str}",
    operation_id="accounts.by-number",
    summary="One account by its number, with its balance",
    opt=needs("accounts.read"),
    responses=refusals(NoSuchAccount),
)
async def account_by_number(number: OfNumber, accounts: NamedDependency[Accounts]) -> AccountFound:
    if not is_account_number(number):
        raise NoSuchAccount
    return (await _with_balances(accounts, [await accounts.by_number(number)]))[0]


@post(
    "/v1/accounts/{account_id:uuid}/limits",
    operation_id="accounts.limits",
    summary="Set the limits, and the overdraft if named",
    status_code=200,
    opt=needs("accounts.write"),
    responses=refusals(
        KeyReused,
        NoSuchAccount,
        OverdraftOutOfRange,
        AccountNotOpen,
        ChangeUnderWay,
        FloorAboveBalance,
    ),
)
async def limits(
    account_id: FromPath[UUID],
    data: JSONBody[NewLimits],
    once: NamedDependency[Once],
    accounts: NamedDependency[Accounts],
    sagas: NamedDependency[Sagas],
) -> Response[AccountView]:
    return await once.by_saga(
        sagas,
        lambda requester: accounts.limit(
            account_id=account_id,
            per_transaction_minor=data.limit_per_transaction_minor,
            per_day_minor=data.limit_per_day_minor,
            overdraft_minor=data.overdraft_minor,
            requester=requester,
        ),
    )


@post(
    "/v1/accounts/{account_id:uuid}/close",
    operation_id="accounts.close",
    summary="Close the account, at a balance of zero",
    status_code=200,
    opt=needs("accounts.write"),
    responses=refusals(
        KeyReused,
        NoSuchAccount,
        AccountNotOpen,
        ChangeUnderWay,
        AccountIsFrozen,
        AccountNotEmpty,
    ),
)
async def close(
    account_id: FromPath[UUID],
    data: JSONBody[Because],
    once: NamedDependency[Once],
    accounts: NamedDependency[Accounts],
    sagas: NamedDependency[Sagas],
) -> Response[AccountView]:
    return await once.by_saga(
        sagas,
        lambda requester: accounts.close(
            account_id=account_id, reason=data.reason, requester=requester
        ),
    )


@get(
    "/v1/accounts/{account_id:uuid}/statement",
    operation_id="accounts.statement",
    summary="The postings of a period, newest first",
    opt=needs("accounts.read"),
    responses=refusals(NoSuchAccount),
)
async def statement(
    account_id: FromPath[UUID],
    statements: NamedDependency[Statements],
    since: Annotated[date | None, QueryParameter(name="from")] = None,
    until: Annotated[date | None, QueryParameter(name="to")] = None,
    by: Annotated[By, QueryParameter(name="by")] = By.BOOKING,
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[PostingView]:
    check_order(since, until)
    found = await statements.page(
        account_id=account_id,
        period=Period(since=since, until=until, by_value=by is By.VALUE),
        before=place_of(cursor, tuple[Seq])[0] if cursor else None,
        limit=limit,
    )
    currency = found.account.currency
    return Page(
        items=[PostingView.of(posting, currency) for posting in found.postings],
        next_cursor=None if found.before is None else cursor_of(found.before),
    )


async def _with_balances(accounts: Accounts, found: list[Account]) -> list[AccountFound]:
    balances = await accounts.book.balances([each.number for each in found])
    views = [AccountFound.of(each) for each in found]
    for each in views:
        each.balance_minor = balances.get(each.number)
    return views


ROUTES = [
    open_account,
    accounts_of_customer,
    account,
    account_by_number,
    limits,
    close,
    statement,
]
