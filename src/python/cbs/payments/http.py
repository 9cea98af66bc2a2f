"""What customers and tellers ask of payments; the answer of a change is made in one place."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Response

from cbs.kernel.account_number import DIGITS, is_account_number
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import KeyReused, Malformed
from cbs.kernel.text import LINE_OR_NOTHING
from cbs.payments.application.payments import Payments
from cbs.payments.domain.transfer import (
    AccountBlocked,
    AccountClosed,
    AccountsNotDistinct,
    CeilingPassed,
    CurrencyMismatch,
    InsufficientFunds,
    LimitPerDay,
    LimitPerTransaction,
    NoSuchAccount,
    NoSuchTransfer,
    Transfer,
)
from cbs.platform.http import IdempotencyKey, needs
from cbs.platform.paging import PAGE_ITEMS_DEFAULT, Cursor, Limit, Page, cursor_of, place_of
from cbs.platform.problem import refusals

NARRATIVE_CHARACTERS_MAX, POSITION_MAX = 140, 2**62
ACCOUNT_FORM = f"^[0-9]{{{DIGITS}}}$"
ACCOUNT_FORMAT = {"format": "account-number"}

AccountNumber = Annotated[
    str,
    msgspec.Meta(
        pattern=ACCOUNT_FORM,
        min_length=DIGITS,
        max_length=DIGITS,
        extra_json_schema={"description": "Ends in a check digit.", "extra": ACCOUNT_FORMAT},
    ),
]
AmountMinor = Annotated[int, msgspec.Meta(ge=1, le=MINOR_UNITS_MAX)]
# A statement has it on one line.
Narrative = Annotated[
    str, msgspec.Meta(max_length=NARRATIVE_CHARACTERS_MAX, pattern=LINE_OR_NOTHING)
]
OfAccount = Annotated[
    str | None,
    QueryParameter(
        name="account",
        pattern=ACCOUNT_FORM,
        min_length=DIGITS,
        max_length=DIGITS,
        description="On either side.",
        schema_extra=ACCOUNT_FORMAT,
    ),
]

# In the order of the ledger, which has the last word.
OF_THE_ACCOUNTS = (CurrencyMismatch, NoSuchAccount, AccountClosed, AccountBlocked)
LIMITS = (LimitPerTransaction, LimitPerDay)
OF_THE_BALANCES = (InsufficientFunds, CeilingPassed)


class TransferWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """From one customer's account to another's."""

    remitter_account: AccountNumber
    beneficiary_account: AccountNumber
    amount_minor: AmountMinor
    currency: Currency
    narrative: Narrative = ""


class CashWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Cash paid in or out at a branch."""

    account: AccountNumber
    amount_minor: AmountMinor
    currency: Currency
    narrative: Narrative = ""


_encode = msgspec.json.Encoder().encode


def body_of(transfer: Transfer) -> bytes:
    """The answer to whoever asked for it: the same bytes whenever it is given."""
    return _encode(transfer)


def _created(transfer: Transfer) -> Response[Transfer]:
    body: Response[Transfer] = Response(
        body_of(transfer),  # type: ignore[arg-type]
        status_code=201,
        media_type="application/json",
    )
    return body


@post(
    "/v1/payments/transfers",
    operation_id="payments.transfer",
    summary="Transfer between two accounts of this bank",
    status_code=201,
    opt=needs("payments.transfer"),
    responses=refusals(AccountsNotDistinct, KeyReused, *OF_THE_ACCOUNTS, *LIMITS, *OF_THE_BALANCES),
)
async def transfer(
    data: JSONBody[TransferWanted],
    idempotency_key: IdempotencyKey,
    payments: NamedDependency[Payments],
) -> Response[Transfer]:
    done = await payments.transfer(
        remitter_account=data.remitter_account,
        beneficiary_account=data.beneficiary_account,
        amount_minor=data.amount_minor,
        currency=data.currency,
        narrative=data.narrative,
        key=idempotency_key,
    )
    return _created(done)


@post(
    "/v1/payments/deposits",
    operation_id="payments.deposit",
    summary="Take cash for an account at a branch",
    status_code=201,
    opt=needs("payments.cash"),
    responses=refusals(KeyReused, *OF_THE_ACCOUNTS, *OF_THE_BALANCES),
)
async def deposit(
    data: JSONBody[CashWanted],
    idempotency_key: IdempotencyKey,
    payments: NamedDependency[Payments],
) -> Response[Transfer]:
    done = await payments.deposit(
        account=data.account,
        amount_minor=data.amount_minor,
        currency=data.currency,
        narrative=data.narrative,
        key=idempotency_key,
    )
    return _created(done)


@post(
    "/v1/payments/withdrawals",
    operation_id="payments.withdraw",
    summary="Pay cash from an account at a branch",
    status_code=201,
    opt=needs("payments.cash"),
    responses=refusals(KeyReused, *OF_THE_ACCOUNTS, *LIMITS, *OF_THE_BALANCES),
)
async def withdraw(
    data: JSONBody[CashWanted],
    idempotency_key: IdempotencyKey,
    payments: NamedDependency[Payments],
) -> Response[Transfer]:
    done = await payments.withdraw(
        account=data.account,
        amount_minor=data.amount_minor,
        currency=data.currency,
        narrative=data.narrative,
        key=idempotency_key,
    )
    return _created(done)


@get(
    "/v1/payments/transfers/{transfer_id:uuid}",
    operation_id="payments.find",
    summary="One payment",
    opt=needs("payments.read"),
    responses=refusals(NoSuchTransfer),
)
async def one(transfer_id: FromPath[UUID], payments: NamedDependency[Payments]) -> Transfer:
    return await payments.find(transfer_id)


@get(
    "/v1/payments/transfers",
    operation_id="payments.list",
    summary="Payments, newest first; the last ones may not be listed yet",
    opt=needs("payments.read"),
    responses=refusals(),
)
async def listed(
    payments: NamedDependency[Payments],
    account: OfAccount = None,
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[Transfer]:
    if account is not None and not is_account_number(account):
        raise Malformed("account: not an account number of this bank")
    before = place_of(cursor, tuple[int])[0] if cursor else POSITION_MAX
    found = await payments.transfers.before(
        max(0, min(before, POSITION_MAX)), account=account, limit=limit
    )
    return Page(
        items=[each.transfer for each in found],
        next_cursor=cursor_of(found[-1].position) if len(found) == limit else None,
    )


ROUTES = [transfer, deposit, withdraw, one, listed]
