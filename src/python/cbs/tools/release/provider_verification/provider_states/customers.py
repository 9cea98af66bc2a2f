"""Customers in the states that pacts name."""

from collections.abc import Callable
from typing import Any

from cbs.tools.lab.demo.trade import registration
from cbs.tools.release.provider_verification.states import (
    REASON,
    STATES,
    Bring,
    Params,
    Values,
    state,
)
from cbs.tools.release.provider_verification.world import BankUnderTest


def registered(world: BankUnderTest) -> Any:
    return world.change("/v1/customers", registration(next(world.people)))


def verified(world: BankUnderTest) -> Any:
    customer = registered(world)
    for document in customer["documents"]:
        path = f"/v1/customers/{customer['id']}/documents/{document['id']}/verify"
        customer = world.change(path)
    return customer


def _suspended(world: BankUnderTest) -> Any:
    customer = verified(world)
    return world.change(f"/v1/customers/{customer['id']}/suspend", REASON)


def _held(world: BankUnderTest) -> Any:
    person = registration(next(world.people))
    world.change("/v1/customers", person)
    return world.change("/v1/customers", person | {"documents": []})


@state("a customer")
def _a_customer(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    return {"customer_id": verified(world)["id"]}


@state("a customer without papers")
def _without_papers(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    customer = registered(world)
    return {"customer_id": customer["id"], "document_id": customer["documents"][0]["id"]}


@state("a suspended customer")
def _a_suspended_customer(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    return {"customer_id": _suspended(world)["id"]}


def _of_a_customer(
    make: Callable[[BankUnderTest], Any], path: str, body: object, method: str = "POST"
) -> Bring:
    def bring(world: BankUnderTest, _provider: str, _params: Params) -> None:
        customer = make(world)
        place = path.format(document=customer["documents"][0]["id"])
        world.change(f"/v1/customers/{customer['id']}{place}", body, method=method)

    return bring


STATES |= {
    "customer-registered happened": lambda world, *_: registered(world) and None,
    "customer-held happened": lambda world, *_: _held(world) and None,
    "customer-found-distinct happened": lambda world, *_: (
        world.change(f"/v1/customers/{_held(world)['id']}/distinct", REASON) and None
    ),
    "customer-recorded happened": lambda world, *_: registered(world) and None,
    "document-added happened": lambda world, *_: registered(world) and None,
    "document-verified happened": lambda world, *_: verified(world) and None,
    "kyc-status-changed happened": lambda world, *_: verified(world) and None,
    "customer-suspended happened": lambda world, *_: _suspended(world) and None,
    "customer-amended happened": _of_a_customer(
        registered, "", {"mobile": "+919812345678"}, "PATCH"
    ),
    "document-rejected happened": _of_a_customer(
        registered, "/documents/{document}/reject", REASON
    ),
    "risk-rated happened": _of_a_customer(registered, "/risk", {"risk": "high", **REASON}, "PUT"),
    "customer-reinstated happened": _of_a_customer(_suspended, "/reinstate", REASON),
    "customer-closed happened": _of_a_customer(_suspended, "/close", REASON),
}
