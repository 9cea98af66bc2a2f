"""What accounts refuses: what an account is comes before what is under way, and the ledger last."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.domain.account import (
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
from cbs.accounts.domain.freeze import (
    FREEZES_MAX,
    FreezeIsOver,
    FrozenWithCustomer,
    NoSuchFreeze,
    NotFrozen,
    Scope,
    SeveralFreezes,
    TooManyFreezes,
)
from cbs.accounts.domain.holder import CustomerHasAccounts
from cbs.accounts.domain.product import (
    NoSuchProduct,
    OverdraftOutOfRange,
    OverdraftsOutOfOrder,
    ProductKnown,
    ProductWithdrawn,
)
from cbs.kernel.account_number import account_number
from cbs.kernel.saga import Requester
from cbs.platform import saga
from tests.accounts.conftest import Bank
from tests.platform.refusals import AskedOf, of_every_service
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

AGREED_MINOR, WHILE_UNDER_WAY_MINOR, LOWER_MINOR = 500, 400, 300
HELD_FOR_LONG = "UPDATE saga SET lease_until = clock_timestamp() + interval '1 h' WHERE id = $1"
SERIALS = count(1)


FREEZES = {"frozen": 1, "unfreezing": 1, "several": 2, "full": FREEZES_MAX}


@dataclass(kw_only=True)
class OfAccount(AskedOf):
    """Of an account with an agreed overdraft; `busy`: the ledger may yet refuse another change.

    It is frozen, once, several times or as often as can be; is not; or the ledger has not heard of
    that yet: `freezing`, `unfreezing`. With its customer it may be `suspended`.
    """

    closed: bool = False
    busy: bool = False
    freeze: str = "none"
    freeze_id: str | None = None
    until: str | None = None
    balance_minor: int = 0
    overdraft_minor: int = LOWER_MINOR

    async def id(self, bank: Bank) -> object:
        if not self.known:
            return uuid4()
        account = await bank.opened(overdraft_minor=AGREED_MINOR)
        if self.closed:
            assert (await bank.change(account, "close")).status_code == 200
            return account["id"]
        if self.balance_minor:
            assert (await bank.pay(account, self.balance_minor)).status_code == 201
        for _ in range(FREEZES.get(self.freeze, 0)):
            assert (await bank.change(account, "freeze", scope="debits")).status_code == 200
        if self.freeze == "suspended":
            await bank.set_standing(account["customer_id"], "suspended")
        await self.begin(bank, UUID(account["id"]))
        return account["id"]

    async def begin(self, bank: Bank, account_id: UUID) -> None:
        """What is under way is kept, and who has the lease of it does nothing."""
        service = bank.accounts.service
        accounts, database = service.spec.provide["accounts"], service.runtime.postgres
        assert isinstance(accounts, Accounts)
        who = Requester(principal="nobody", key=uuid4().hex)
        what: dict[str, Any] = {"account_id": account_id, "requester": who}
        async with database.transaction():
            if self.freeze == "freezing":
                begun = await accounts.freeze(
                    scope=Scope.DEBITS, reason="", authority=None, until=None, **what
                )
            elif self.freeze == "unfreezing":
                begun = await accounts.unfreeze(freeze_id=None, reason="", **what)
            elif self.busy:
                begun = await accounts.limit(
                    per_transaction_minor=None,
                    per_day_minor=None,
                    overdraft_minor=WHILE_UNDER_WAY_MINOR,
                    **what,
                )
            else:
                return
            await database.execute(HELD_FOR_LONG, begun.id)


@dataclass(kw_only=True)
class OfFrozen(OfAccount):
    freeze: str = "frozen"


def change(operation: str, *said: str, **more: Any) -> Callable[[Bank, OfAccount], Awaitable[str]]:
    """`said` are the fields of the request that go into its body."""

    async def ask(bank: Bank, asked: OfAccount) -> str:
        path, body = {"account_id": await asked.id(bank)}, {n: getattr(asked, n) for n in said}
        # Who must wait for another change is told at once.
        waits = asked.busy or asked.freeze.endswith("ing")
        with patch.object(saga, "WAIT_SECONDS_MAX", 0.0 if waits else 5.0):
            return await over_http(bank.accounts, operation, asked, path=path, body=body | more)

    return ask


@dataclass(kw_only=True)
class Opening(Asked):
    product: str = "CURRENT-INR"
    overdraft_minor: int = 0
    known: bool = True
    kyc: str = "verified"
    status: str = "active"


async def open_account(bank: Bank, asked: Opening) -> str:
    customer = uuid4()
    bank.customers.known[customer] = {"kyc": asked.kyc, "status": asked.status}
    if not asked.known:
        bank.customers.missing.add(customer)
    if asked.product == "WITHDRAWN":
        await bank.teller.post("/v1/accounts/products", json=product("WITHDRAWN", active=False))
    body = {
        "customer_id": str(customer),
        "product": asked.product,
        "overdraft_minor": asked.overdraft_minor,
    }
    return await over_http(bank.accounts, "accounts.open", asked, body=body)


def product(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "name": "An account", "kind": "current", "currency": "INR", **more}


@dataclass(kw_only=True)
class Adding(Asked):
    code: str = field(default_factory=lambda: f"NEW-{next(SERIALS)}")
    overdraft_min_minor: int = 0


async def add_product(bank: Bank, asked: Adding) -> str:
    body = product(asked.code, overdraft_min_minor=asked.overdraft_min_minor)
    return await over_http(bank.accounts, "accounts.add-product", asked, body=body)


def read(operation: str) -> Callable[[Bank, OfAccount], Awaitable[str]]:
    async def ask(bank: Bank, asked: OfAccount) -> str:
        path = {"account_id": await asked.id(bank)}
        return await over_http(bank.accounts, operation, asked, path=path)

    return ask


async def by_number(bank: Bank, asked: AskedOf) -> str:
    number = (await bank.opened())["number"] if asked.known else account_number(branch=9, serial=9)
    return await over_http(bank.accounts, "accounts.by-number", asked, path={"number": number})


async def listed(bank: Bank, asked: Asked) -> str:
    query = {"customer_id": str(uuid4())}
    return await over_http(bank.accounts, "accounts.list", asked, query=query)


async def products(bank: Bank, asked: Asked) -> str:
    return await over_http(bank.accounts, "accounts.products", asked)


@dataclass(kw_only=True)
class SettingStanding(Asked):
    open_account: bool = False


async def set_standing(bank: Bank, asked: SettingStanding) -> str:
    customer_id = (await bank.opened())["customer_id"] if asked.open_account else str(uuid4())
    wanted = {"customer_id": customer_id, "version": 1, "standing": "closed"}
    return await on_the_bus(bank.accounts, "set-standing", asked, wanted)


UNKNOWN, CLOSED = rule(NoSuchAccount, known=False), rule(AccountNotOpen, closed=True)
BUSY = rule(ChangeUnderWay, busy=True)
FREEZING = rule(ChangeUnderWay, freeze="freezing")
REASON = {"reason": "court order 7/2026"}

BOOK: RuleBook = {
    "accounts.open": Operation(
        (
            *ALWAYS,
            USED_KEY,
            rule(NoSuchProduct, product="NO-SUCH"),
            rule(ProductWithdrawn, product="WITHDRAWN"),
            rule(OverdraftOutOfRange, overdraft_minor=10**15),
            rule(NoSuchCustomer, known=False),
            rule(CustomerNotVerified, kyc="pending"),
            rule(CustomerNotActive, status="suspended"),
        ),
        Opening,
        open_account,
    ),
    "accounts.freeze": Operation(
        (
            *ALWAYS,
            USED_KEY,
            rule(FreezeIsOver, until="2020-01-01"),
            UNKNOWN,
            CLOSED,
            BUSY,
            rule(TooManyFreezes, freeze="full"),
        ),
        OfAccount,
        change("accounts.freeze", "until", scope="debits", **REASON),
    ),
    "accounts.unfreeze": Operation(
        (
            *ALWAYS,
            USED_KEY,
            UNKNOWN,
            CLOSED,
            BUSY,
            rule(NoSuchFreeze, freeze_id="00000000-0000-7000-8000-000000000000"),
            rule(ChangeUnderWay, freeze="unfreezing"),
            rule(NotFrozen, freeze="none"),
            rule(SeveralFreezes, freeze="several"),
            rule(FrozenWithCustomer, freeze="suspended"),
        ),
        OfFrozen,
        change("accounts.unfreeze", "freeze_id", **REASON),
    ),
    "accounts.limits": Operation(
        (
            *ALWAYS,
            USED_KEY,
            UNKNOWN,
            rule(OverdraftOutOfRange, overdraft_minor=10**15),
            CLOSED,
            BUSY,
            FREEZING,
            rule(FloorAboveBalance, balance_minor=-LOWER_MINOR - 1),
        ),
        OfAccount,
        change(
            "accounts.limits",
            "overdraft_minor",
            limit_per_transaction_minor=None,
            limit_per_day_minor=None,
        ),
    ),
    "accounts.close": Operation(
        (
            *ALWAYS,
            USED_KEY,
            UNKNOWN,
            CLOSED,
            BUSY,
            FREEZING,
            rule(AccountIsFrozen, freeze="frozen"),
            rule(AccountNotEmpty, balance_minor=1),
        ),
        OfAccount,
        change("accounts.close", **REASON),
    ),
    "accounts.add-product": Operation(
        (
            *ALWAYS,
            rule(OverdraftsOutOfOrder, overdraft_min_minor=1),
            USED_KEY,
            rule(ProductKnown, code="SAVINGS-INR"),
        ),
        Adding,
        add_product,
    ),
    "accounts.get": Operation((*ALWAYS, UNKNOWN), OfAccount, read("accounts.get")),
    "accounts.statement": Operation((*ALWAYS, UNKNOWN), OfAccount, read("accounts.statement")),
    "accounts.by-number": Operation((*ALWAYS, UNKNOWN), AskedOf, by_number),
    "accounts.list": Operation(ALWAYS, Asked, listed),
    "accounts.products": Operation(ALWAYS, Asked, products),
    "cbs.accounts.set-standing": Operation(
        (*ALWAYS, rule(CustomerHasAccounts, open_account=True)), SettingStanding, set_standing
    ),
}
OF_THE_PLATFORM = of_every_service("accounts")
