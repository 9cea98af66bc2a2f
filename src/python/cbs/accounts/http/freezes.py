from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Response

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.domain.account import AccountNotOpen, ChangeUnderWay, NoSuchAccount
from cbs.accounts.domain.freeze import (
    FreezeIsOver,
    FrozenWithCustomer,
    NoSuchFreeze,
    NotFrozen,
    SeveralFreezes,
    TooManyFreezes,
)
from cbs.accounts.http.shapes import FrozenView, NewFreeze, Unfreeze
from cbs.kernel.refusal import KeyReused
from cbs.platform.http import Once, needs
from cbs.platform.problem import refusals
from cbs.platform.saga import Sagas


@post(
    "/v1/accounts/{account_id:uuid}/freeze",
    operation_id="accounts.freeze",
    summary="Place a freeze of debits or all, beside those there are; it holds from the answer on",
    status_code=200,
    opt=needs("accounts.freeze"),
    responses=refusals(
        KeyReused, FreezeIsOver, NoSuchAccount, AccountNotOpen, ChangeUnderWay, TooManyFreezes
    ),
)
async def freeze(
    account_id: FromPath[UUID],
    data: JSONBody[NewFreeze],
    once: NamedDependency[Once],
    accounts: NamedDependency[Accounts],
    sagas: NamedDependency[Sagas],
) -> Response[FrozenView]:
    return await once.by_saga(
        sagas,
        lambda requester: accounts.freeze(
            account_id=account_id,
            scope=data.scope,
            reason=data.reason,
            authority=data.authority,
            until=data.until,
            requester=requester,
        ),
    )


@post(
    "/v1/accounts/{account_id:uuid}/unfreeze",
    operation_id="accounts.unfreeze",
    summary="Lift one freeze; those beside it hold on",
    status_code=200,
    opt=needs("accounts.freeze"),
    responses=refusals(
        KeyReused,
        NoSuchAccount,
        AccountNotOpen,
        ChangeUnderWay,
        NoSuchFreeze,
        NotFrozen,
        SeveralFreezes,
        FrozenWithCustomer,
    ),
)
async def unfreeze(
    account_id: FromPath[UUID],
    data: JSONBody[Unfreeze],
    once: NamedDependency[Once],
    accounts: NamedDependency[Accounts],
    sagas: NamedDependency[Sagas],
) -> Response[FrozenView]:
    return await once.by_saga(
        sagas,
        lambda requester: accounts.unfreeze(
            account_id=account_id,
            freeze_id=data.freeze_id,
            reason=data.reason,
            requester=requester,
        ),
    )


FREEZE_ROUTES = [freeze, unfreeze]
