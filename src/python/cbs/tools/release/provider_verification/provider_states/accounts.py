"""Accounts in the states that pacts name."""

from collections.abc import Callable
from typing import Any

from cbs.tools.release.provider_verification.provider_states.customers import registered, verified
from cbs.tools.release.provider_verification.states import (
    REASON,
    STATES,
    Bring,
    Params,
    Values,
    state,
)
from cbs.tools.release.provider_verification.world import BankUnderTest, NotAsAsked


def _opened(world: BankUnderTest) -> Any:
    wanted = {"customer_id": verified(world)["id"], "product": "SAVINGS-INR"}
    return world.change("/v1/accounts", wanted)


def _frozen(world: BankUnderTest) -> Any:
    account = _opened(world)
    world.change(f"/v1/accounts/{account['id']}/freeze", {"scope": "all", **REASON})
    return account


@state("an open account")
def _an_open_account(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    account = _opened(world)
    return {"account_id": account["id"], "number": account["number"]}


@state("a customer with an account")
def _a_customer_with_an_account(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    return {"customer_id": _opened(world)["customer_id"]}


@state("a customer's account with money")
def _with_money(world: BankUnderTest, _provider: str, params: Params) -> Values:
    account = _opened(world)
    cash = {"account": account["number"], "currency": "INR"}
    world.change("/v1/payments/deposits", {**cash, "amount_minor": params["balance_minor"]})
    return {"number": account["number"]}


def _of_an_account(make: Callable[[BankUnderTest], Any], verb: str, body: object) -> Bring:
    def bring(world: BankUnderTest, _provider: str, _params: Params) -> None:
        world.change(f"/v1/accounts/{make(world)['id']}/{verb}", body)

    return bring


@state("account-opening-refused happened")
def _opening_is_refused(world: BankUnderTest, _provider: str, _params: Params) -> None:
    wanted = {"customer_id": registered(world)["id"], "product": "SAVINGS-INR"}
    answer = world.ask("POST", "/v1/accounts", wanted)
    if answer.status != 409:
        raise NotAsAsked(f"an account without papers: {answer.said}")


@state("product-added happened")
def _product_is_added(world: BankUnderTest, _provider: str, _params: Params) -> None:
    code = f"CONTRACT-{world.serial()}"
    product = {"code": code, "name": "Of a contract", "kind": "current", "currency": "INR"}
    world.change("/v1/accounts/products", product)


LIMITS = {"limit_per_transaction_minor": 1_000, "limit_per_day_minor": 5_000}
STATES |= {
    "account-opened happened": lambda world, *_: _opened(world) and None,
    "account-frozen happened": lambda world, *_: _frozen(world) and None,
    "account-unfrozen happened": _of_an_account(_frozen, "unfreeze", REASON),
    "limits-changed happened": _of_an_account(_opened, "limits", LIMITS),
    "account-closed happened": _of_an_account(_opened, "close", REASON),
}
