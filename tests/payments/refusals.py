"""What payments refuses: first what it sees by itself, then what the ledger says, in its order."""

from dataclasses import dataclass
from typing import Any

from cbs.kernel.account_number import account_number
from cbs.payments.domain.transfer import (
    AccountBlocked,
    AccountClosed,
    AccountsNotDistinct,
    CeilingPassed,
    CurrencyMismatch,
    InsufficientFunds,
    NoSuchAccount,
    NoSuchTransfer,
)
from tests.ledger.refusals import (
    AMOUNT_MINOR,
    CASH,
    EUROS,
    LIMITS,
    OF_THE_ACCOUNTS,
    OnTheBus,
    Posting,
    accounts_of,
)
from tests.payments.bank import TELLER, cash, transfer
from tests.platform.refusals import AskedOf, of_every_service
from tests.refusals import ALWAYS, USED_KEY, WHO, Asked, Operation, RuleBook, over_http, rule
from tests.serving import Served

NOBODY, NO_ONE = (account_number(branch=9, serial=serial) for serial in (8, 9))


@dataclass(frozen=True)
class Both:
    payments: Served
    ledger: Served

    @property
    def book(self) -> OnTheBus:
        return OnTheBus(self.ledger)


@dataclass(kw_only=True)
class Cash(Posting):
    """The till is the payer of a deposit, and the payee of a withdrawal."""

    till_full: bool = False
    till_empty: bool = False


async def pay(both: Both, posting: Posting) -> str:
    payer, payee = await accounts_of(posting, both.book)
    body = transfer(payer, payee if posting.distinct else payer, AMOUNT_MINOR)
    return await asked(both, "payments.transfer", posting, body)


async def deposit(both: Both, posting: Cash) -> str:
    _, payee = await accounts_of(posting, both.book)
    return await at_the_till(both, "payments.deposit", posting, payee)


async def withdraw(both: Both, posting: Cash) -> str:
    payer, _ = await accounts_of(posting, both.book)
    return await at_the_till(both, "payments.withdraw", posting, payer)


async def at_the_till(both: Both, operation: str, posting: Cash, account: str) -> str:
    async with both.ledger.client("olga", "ledger.read") as olga:
        till = (await olga.get(f"/v1/ledger/accounts/{CASH}")).json()
    # An asset's balance is negative: it can fall no lower in a full till, and rise no higher in an
    # empty one.
    floor = till["balance_minor"] if posting.till_full else None
    ceiling = till["balance_minor"] if posting.till_empty else None
    version = till["version"] + 1
    await both.book.set(CASH, version=version, floor_minor=floor, ceiling_minor=ceiling)
    said = await asked(both, operation, posting, cash(account, AMOUNT_MINOR))
    await both.book.set(CASH, version=version + 1, floor_minor=None)
    return said


async def asked(both: Both, operation: str, posting: Posting, body: dict[str, Any]) -> str:
    return await over_http(both.payments, operation, posting, body=body, use_key=pay_nothing)


async def pay_nothing(payments: Served, key: str) -> None:
    """The ledger keeps that it refused it."""
    async with payments.client(WHO, *TELLER) as teller:
        body, headers = transfer(NOBODY, NO_ONE, 1), {"Idempotency-Key": key}
        answer = await teller.post("/v1/payments/transfers", json=body, headers=headers)
    assert answer.status_code == 404, answer.text


async def find(both: Both, asked: AskedOf) -> str:
    found = "00000000-0000-7000-8000-000000000000"
    if asked.known:
        _, payee = await accounts_of(Posting(), both.book)
        async with both.payments.client("tilda", *TELLER) as tilda:
            made = await tilda.post("/v1/payments/deposits", json=cash(payee, 1))
        found = made.json()["id"]
    return await over_http(both.payments, "payments.find", asked, path={"transfer_id": found})


async def listed(both: Both, asked: Asked) -> str:
    return await over_http(both.payments, "payments.list", asked)


DEPOSIT = (
    rule(CurrencyMismatch, payee_currency=EUROS, payee_known=True),
    rule(NoSuchAccount, payee_known=False),
    rule(AccountClosed, payee_closed=True),
    rule(AccountBlocked, payee_blocked=True),
    rule(InsufficientFunds, till_full=True),
    rule(CeilingPassed, ceiling_minor=AMOUNT_MINOR - 1),
)
WITHDRAWAL = (
    rule(CurrencyMismatch, payer_currency=EUROS, payer_known=True),
    rule(NoSuchAccount, payer_known=False),
    rule(AccountClosed, payer_closed=True),
    rule(AccountBlocked, payer_blocked=True),
    *LIMITS,
    rule(InsufficientFunds, holding_minor=AMOUNT_MINOR - 1),
    rule(CeilingPassed, till_empty=True),
)

BOOK: RuleBook = {
    "payments.transfer": Operation(
        (*ALWAYS, rule(AccountsNotDistinct, distinct=False), USED_KEY, *OF_THE_ACCOUNTS),
        Posting,
        pay,
    ),
    "payments.deposit": Operation((*ALWAYS, USED_KEY, *DEPOSIT), Cash, deposit),
    "payments.withdraw": Operation((*ALWAYS, USED_KEY, *WITHDRAWAL), Cash, withdraw),
    "payments.find": Operation((*ALWAYS, rule(NoSuchTransfer, known=False)), AskedOf, find),
    "payments.list": Operation(ALWAYS, Asked, listed),
}
OF_THE_PLATFORM = of_every_service("payments")
