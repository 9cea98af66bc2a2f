"""Payments, and the ledger after one, in the states that pacts name."""

from typing import Any

from cbs.kernel.account_number import account_number
from cbs.tools.release.provider_verification.provider_states.ledger import held
from cbs.tools.release.provider_verification.states import BRANCH, Params, Values, state
from cbs.tools.release.provider_verification.world import BankUnderTest


def _transfer(world: BankUnderTest, key: str = "") -> Any:
    here, there = (account_number(branch=BRANCH, serial=world.serial()) for _ in range(2))
    wanted = {
        "remitter_account": held(world, here, balance_minor=500_000),
        "beneficiary_account": held(world, there),
        "amount_minor": 125_050,
        "currency": "INR",
        "narrative": "rent",
    }
    return world.change("/v1/payments/transfers", wanted, key=key)


@state("transaction-posted happened")
def _posted(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    return {"transaction_id": _transfer(world)["id"]}


@state("a payment was asked for")
def _a_payment(world: BankUnderTest, _provider: str, params: Params) -> Values:
    """At the ledger, under the key by which payments keeps it there."""
    _transfer(world, key=params["key"].removeprefix("payments/"))
    return {"principal": "importer"}


@state("a transfer was asked for")
def _asked_for(world: BankUnderTest, _provider: str, params: Params) -> None:
    _transfer(world, key=params["key"])
