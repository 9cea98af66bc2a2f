"""Payments with the ledger behind them, and accounts with money in them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import msgspec

from cbs.kernel.account_number import AccountNumber, account_number
from cbs.platform.context import Context, within
from cbs.platform.service import Service
from tests.serving import Served
from tests.signing import Signer

CUSTOMER = ("payments.transfer", "payments.read")
TELLER = (*CUSTOMER, "payments.cash")
PATIENCE_SECONDS = 15.0


class Account(msgspec.Struct, kw_only=True):
    number: str
    balance_minor: int
    debited_minor: int


class Found(msgspec.Struct, kw_only=True):
    accounts: list[Account]


async def ask(service: Service, operation: str, data: object, gives, *, key: str = ""):
    """Ask on the bus as this service itself."""
    runtime = service.runtime
    with within(Context(principal=runtime.principal)):
        return await runtime.bus.call(operation, data, gives, key=key, own=True)


async def open_account(service: Service, serial: int, **terms) -> AccountNumber:
    number = account_number(branch=1, serial=serial)
    wanted = {"number": number, "kind": "customer", "currency": "INR", "version": 1, **terms}
    await ask(service, "ledger.set-account", wanted, Account)
    return number


@dataclass
class Bank:
    """Both services in this process, and a teller."""

    payments: Served
    teller: httpx.AsyncClient
    opened: int = field(default=0)

    @property
    def service(self) -> Service:
        return self.payments.service

    async def account(self, holding_minor: int = 0, **terms) -> AccountNumber:
        self.opened += 1
        number = await open_account(self.service, self.opened, **terms)
        if holding_minor:
            await self.deposit(number, holding_minor)
        return number

    async def deposit(self, account: str, amount_minor: int) -> None:
        body = cash(account, amount_minor)
        answer = await self.teller.post("/v1/payments/deposits", json=body)
        assert answer.status_code == 201, answer.text

    async def pay(self, remitter: str, beneficiary: str, amount_minor: int, key: str = ""):
        return await self.teller.post(
            "/v1/payments/transfers",
            json=transfer(remitter, beneficiary, amount_minor),
            headers={"Idempotency-Key": key} if key else {},
        )

    async def balances(self, *numbers: str) -> list[int]:
        found = await ask(self.service, "ledger.accounts", {"numbers": numbers}, Found)
        by_number = {account.number: account.balance_minor for account in found.accounts}
        return [by_number[number] for number in numbers]

    async def listed(self, count: int, **query) -> list[dict]:
        """The list, when the ledger has told of this many."""

        async def enough():
            answer = await self.teller.get("/v1/payments/transfers", params=query)
            assert answer.status_code == 200, answer.text
            return items if len(items := answer.json()["items"]) >= count else None

        items: list[dict] = await eventually(enough)
        return items


def transfer(remitter: str, beneficiary: str, amount_minor: int, **changed) -> dict:
    return {
        "remitter_account": remitter,
        "beneficiary_account": beneficiary,
        "amount_minor": amount_minor,
        "currency": "INR",
        **changed,
    }


def cash(account: str, amount_minor: int, **changed) -> dict:
    return {"account": account, "amount_minor": amount_minor, "currency": "INR", **changed}


def teller(payments: Service, signer: Signer) -> httpx.AsyncClient:
    return Served(payments, signer).client("tilda", *TELLER)


async def eventually(found: Callable[[], Awaitable]):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (result := await found()) is None:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)
        return result
