from datetime import date
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter
from litestar.response import Response

from cbs.kernel.money import Currency
from cbs.kernel.refusal import KeyReused
from cbs.ledger.application.book import Ledger, Posting
from cbs.ledger.bus.endpoints import (
    NUMBER_CHARACTERS_MAX,
    NUMBER_FORM,
    POST_REFUSALS,
    AmountMinor,
    Post,
    Posted,
    order_of,
)
from cbs.ledger.bus.messages import AccountView, BalanceView
from cbs.ledger.domain.account import (
    AccountKind,
    CeilingBelowBalance,
    FloorAboveBalance,
    NoSuchAccount,
    NumberTaken,
    Terms,
)
from cbs.ledger.domain.transaction import NoSuchTransaction, Transaction
from cbs.platform.http import IdempotencyKey, Once, answered, needs
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

OfNumber = Annotated[str, PathParameter(pattern=NUMBER_FORM, max_length=NUMBER_CHARACTERS_MAX)]


class OpenInternalAccount(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Opens an account of the bank itself, named `<currency>-<name>`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9-]{1,28}$(?!\n)")]
    currency: Currency
    floor_minor: AmountMinor | None = None
    ceiling_minor: AmountMinor | None = None


@get(
    "/v1/ledger/accounts",
    operation_id="ledger.accounts",
    summary="The chart of accounts, by number",
    opt=needs("ledger.read"),
    responses=refusals(),
)
async def accounts(
    ledger: NamedDependency[Ledger], cursor: Cursor = "", limit: Limit = PAGE_ITEMS_DEFAULT
) -> Page[AccountView]:
    after = place_of(cursor, tuple[str])[0] if cursor else ""
    found = await ledger.book.accounts_after(after, limit=limit)
    views = [AccountView.of(account) for account in found]
    return page_of(views, limit, lambda last: cursor_of(last.number))


@post(
    "/v1/ledger/accounts",
    operation_id="ledger.open-account",
    summary="Open an internal account",
    opt=needs("ledger.accounts"),
    responses=refusals(KeyReused, NumberTaken, FloorAboveBalance, CeilingBelowBalance),
)
async def open_account(
    data: JSONBody[OpenInternalAccount],
    once: NamedDependency[Once],
    ledger: NamedDependency[Ledger],
) -> Response[AccountView]:
    return await once(
        lambda: ledger.book.open_account(
            number=f"{data.currency}-{data.name}",
            kind=AccountKind.INTERNAL,
            currency=data.currency,
            terms=Terms(floor_minor=data.floor_minor, ceiling_minor=data.ceiling_minor),
        ),
        AccountView.of,
        status=201,
    )


@get(
    "/v1/ledger/accounts/{number:str}",
    operation_id="ledger.account",
    summary="One account, with its balance",
    opt=needs("ledger.read"),
    responses=refusals(NoSuchAccount),
)
async def account(number: OfNumber, ledger: NamedDependency[Ledger]) -> AccountView:
    return AccountView.of(await ledger.account(number))


@get(
    "/v1/ledger/accounts/{number:str}/balance",
    operation_id="ledger.balance",
    summary="The balance by value date",
    opt=needs("ledger.read"),
    responses=refusals(NoSuchAccount),
)
async def balance(
    number: OfNumber,
    ledger: NamedDependency[Ledger],
    value_on: Annotated[date, QueryParameter(name="value_on")],
) -> BalanceView:
    found = await ledger.account(number)
    return BalanceView(
        number=number,
        currency=found.currency,
        value_on=value_on,
        balance_minor=await ledger.book.balance_on(number, value_on),
    )


@get(
    "/v1/ledger/accounts/{number:str}/postings",
    operation_id="ledger.history",
    summary="The postings of an account, newest first",
    opt=needs("ledger.read"),
    responses=refusals(NoSuchAccount),
)
async def history(
    number: OfNumber,
    ledger: NamedDependency[Ledger],
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[Posting]:
    await ledger.account(number)
    before = place_of(cursor, tuple[int])[0] if cursor else 2**62
    found = await ledger.book.history(number, before=min(before, 2**62), limit=limit)
    return page_of(found, limit, lambda last: cursor_of(last.seq))


@post(
    "/v1/ledger/transactions",
    operation_id="ledger.post",
    summary="Post a transaction of two or more legs",
    status_code=201,
    opt=needs("ledger.post"),
    responses=refusals(*POST_REFUSALS),
)
async def post_transaction(
    data: JSONBody[Post], idempotency_key: IdempotencyKey, ledger: NamedDependency[Ledger]
) -> Response[Posted]:
    return answered(await ledger.post(order_of(data, key=idempotency_key)))


@get(
    "/v1/ledger/transactions/{transaction_id:uuid}",
    operation_id="ledger.transaction",
    summary="One transaction with its legs",
    opt=needs("ledger.read"),
    responses=refusals(NoSuchTransaction),
)
async def transaction(
    transaction_id: FromPath[UUID], ledger: NamedDependency[Ledger]
) -> Transaction:
    return await ledger.transaction(transaction_id)


ROUTES = [
    accounts,
    open_account,
    account,
    balance,
    history,
    post_transaction,
    transaction,
]
