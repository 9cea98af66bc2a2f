"""The states that pacts name, brought about over the bank's own interfaces; unknown ones fail."""

from collections.abc import Callable, Mapping
from typing import Any

from cbs.bank import SERVICES
from cbs.kernel.account_number import account_number
from cbs.tools.lab.demo.trade import registration
from cbs.tools.release.provider_verification.world import WITHOUT, NotAsAsked, World

Params = Mapping[str, Any]
Values = dict[str, Any]
Bring = Callable[[World, str, Params], Values | None]

STATES: dict[str, Bring] = {}
BRANCH = 77
REASON = {"reason": "for a contract"}
SET_ASIDE = """
    INSERT INTO dead_letter (source, position, body, error, at)
    VALUES ('ledger', $1, '{"specversion": "1.0"}', 'it could not be digested', now())
    ON CONFLICT DO NOTHING"""


class UnknownState(NotAsAsked):
    """No function brings this state about: write one beside this class."""


def bring_about(world: World, provider: str, name: str, params: Params) -> Values:
    """Returns what the provider made (ids), by name. Raises NotAsAsked."""
    try:
        bring = STATES[name]
    except KeyError:
        raise UnknownState(f"no state {name!r}; there is: {', '.join(sorted(STATES))}") from None
    return bring(world, provider, params) or {}


def state(name: str) -> Callable[[Bring], Bring]:
    def remember(bring: Bring) -> Bring:
        assert name not in STATES, name
        STATES[name] = bring
        return bring

    return remember


# --- everybody ------------------------------------------------------------------------------------


@state("permission-refused happened")
def _somebody_is_refused(world: World, provider: str, _params: Params) -> None:
    answer = world.ask("GET", f"/v1/{provider}/dead-letters", user=WITHOUT)
    if answer.status_code != 403:
        raise NotAsAsked(f"{WITHOUT} was not refused: {answer.status_code}")


@state("a fact was set aside")
def _set_aside(world: World, provider: str, _params: Params) -> None:
    assert provider in SERVICES, provider
    world.execute(provider, SET_ASIDE, 2**40 + world.serial())


# --- customers ------------------------------------------------------------------------------------


def _registered(world: World) -> Any:
    return world.change("/v1/customers", registration(next(world.people)))


def _verified(world: World) -> Any:
    customer = _registered(world)
    for document in customer["documents"]:
        path = f"/v1/customers/{customer['id']}/documents/{document['id']}/verify"
        customer = world.change(path)
    return customer


def _suspended(world: World) -> Any:
    customer = _verified(world)
    return world.change(f"/v1/customers/{customer['id']}/suspend", REASON)


@state("a customer")
def _a_customer(world: World, _provider: str, _params: Params) -> Values:
    return {"customer_id": _verified(world)["id"]}


@state("a customer without papers")
def _without_papers(world: World, _provider: str, _params: Params) -> Values:
    customer = _registered(world)
    return {"customer_id": customer["id"], "document_id": customer["documents"][0]["id"]}


@state("a suspended customer")
def _a_suspended_customer(world: World, _provider: str, _params: Params) -> Values:
    return {"customer_id": _suspended(world)["id"]}


def _of_a_customer(
    make: Callable[[World], Any], path: str, body: object, method: str = "POST"
) -> Bring:
    def bring(world: World, _provider: str, _params: Params) -> None:
        customer = make(world)
        place = path.format(document=customer["documents"][0]["id"])
        world.change(f"/v1/customers/{customer['id']}{place}", body, method=method)

    return bring


STATES |= {
    "customer-registered happened": lambda world, *_: _registered(world) and None,
    "document-added happened": lambda world, *_: _registered(world) and None,
    "document-verified happened": lambda world, *_: _verified(world) and None,
    "kyc-status-changed happened": lambda world, *_: _verified(world) and None,
    "customer-suspended happened": lambda world, *_: _suspended(world) and None,
    "customer-amended happened": _of_a_customer(
        _registered, "", {"mobile": "+919812345678"}, "PATCH"
    ),
    "document-rejected happened": _of_a_customer(
        _registered, "/documents/{document}/reject", REASON
    ),
    "risk-rated happened": _of_a_customer(_registered, "/risk", {"risk": "high", **REASON}, "PUT"),
    "customer-reinstated happened": _of_a_customer(_suspended, "/reinstate", REASON),
    "customer-closed happened": _of_a_customer(_suspended, "/close", REASON),
}

# --- accounts -------------------------------------------------------------------------------------


def _opened(world: World) -> Any:
    wanted = {"customer_id": _verified(world)["id"], "product": "SAVINGS-INR"}
    return world.change("/v1/accounts", wanted)


def _frozen(world: World) -> Any:
    account = _opened(world)
    world.change(f"/v1/accounts/{account['id']}/freeze", {"scope": "all", **REASON})
    return account


@state("an open account")
def _an_open_account(world: World, _provider: str, _params: Params) -> Values:
    account = _opened(world)
    return {"account_id": account["id"], "number": account["number"]}


def _of_an_account(make: Callable[[World], Any], verb: str, body: object) -> Bring:
    def bring(world: World, _provider: str, _params: Params) -> None:
        world.change(f"/v1/accounts/{make(world)['id']}/{verb}", body)

    return bring


@state("account-opening-refused happened")
def _opening_is_refused(world: World, _provider: str, _params: Params) -> None:
    wanted = {"customer_id": _registered(world)["id"], "product": "SAVINGS-INR"}
    answer = world.ask("POST", "/v1/accounts", wanted)
    if answer.status_code != 409:
        raise NotAsAsked(f"an account without papers: {answer.status_code} {answer.text[:300]}")


@state("product-added happened")
def _product_is_added(world: World, _provider: str, _params: Params) -> None:
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

# --- ledger and payments --------------------------------------------------------------------------


def _held(world: World, number: str, *, balance_minor: int = 0, **terms: Any) -> str:
    wanted = {"number": number, "kind": "customer", "currency": terms.pop("currency", "INR")}
    wanted["terms"] = {"version": 1, **terms}
    try:
        held = world.tell("accounts", "cbs.ledger.open-account", wanted)
    except NotAsAsked:  # it is open, and was put on other terms since
        [held] = world.tell("accounts", "cbs.ledger.accounts", {"numbers": [number]})["accounts"]
    if held["balance_minor"] != balance_minor:
        move = balance_minor - held["balance_minor"]
        way = "deposits" if move > 0 else "withdrawals"
        cash = {"account": number, "amount_minor": abs(move), "currency": wanted["currency"]}
        world.change(f"/v1/payments/{way}", cash)
    return number


@state("an account with money")
def _with_money(world: World, _provider: str, params: Params) -> None:
    terms = dict(params)
    _held(world, terms.pop("number"), **terms)


def _transfer(world: World, key: str = "") -> Any:
    here, there = (account_number(branch=BRANCH, serial=world.serial()) for _ in range(2))
    wanted = {
        "remitter_account": _held(world, here, balance_minor=500_000),
        "beneficiary_account": _held(world, there),
        "amount_minor": 125_050,
        "currency": "INR",
        "narrative": "rent",
    }
    return world.change("/v1/payments/transfers", wanted, key=key)


@state("transaction-posted happened")
def _posted(world: World, _provider: str, _params: Params) -> Values:
    return {"transaction_id": _transfer(world)["id"]}


@state("account-set happened")
def _set(world: World, _provider: str, _params: Params) -> None:
    _held(world, account_number(branch=BRANCH, serial=world.serial()))


@state("a payment was asked for")
def _a_payment(world: World, _provider: str, params: Params) -> Values:
    """At the ledger, under the key by which payments keeps it there."""
    _transfer(world, key=params["key"].removeprefix("payments/"))
    return {"principal": "importer"}


@state("a transfer was asked for")
def _asked_for(world: World, _provider: str, params: Params) -> None:
    _transfer(world, key=params["key"])
