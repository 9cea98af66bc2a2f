"""The ledger in the states that pacts name."""

from typing import Any

from cbs.kernel.account_number import account_number
from cbs.tools.release.provider_verification.states import BRANCH, Params, state
from cbs.tools.release.provider_verification.world import BankUnderTest, NotAsAsked


def held(
    world: BankUnderTest,
    number: str,
    *,
    balance_minor: int = 0,
    currency: str = "INR",
    **terms: Any,
) -> str:
    terms = {"version": 1, **terms}
    wanted = {"number": number, "kind": "customer", "currency": currency, "terms": terms}
    try:
        account = world.tell("accounts", "cbs.ledger.open-account", wanted)
    except NotAsAsked:  # it is open, and was put on other terms since
        [account] = world.tell("accounts", "cbs.ledger.accounts", {"numbers": [number]})["accounts"]
    if account["balance_minor"] != balance_minor:
        move = balance_minor - account["balance_minor"]
        way = "deposits" if move > 0 else "withdrawals"
        cash = {"account": number, "amount_minor": abs(move), "currency": currency}
        world.change(f"/v1/payments/{way}", cash)
    return number


@state("an account with money")
def _with_money(world: BankUnderTest, _provider: str, params: Params) -> None:
    terms = dict(params)
    held(world, terms.pop("number"), **terms)


@state("account-set happened")
def _set(world: BankUnderTest, _provider: str, _params: Params) -> None:
    held(world, account_number(branch=BRANCH, serial=world.serial()))
