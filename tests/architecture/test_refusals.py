"""No refusal is forgotten: what a service raises an operation declares, and the other way round."""

import ast
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cbs.bank import SERVICES
from cbs.kernel.refusal import Refusal
from cbs.platform.declaration import declaration_of
from cbs.platform.openapi import X_REFUSALS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "python"
# What the operations that a service calls refuse, and its own callers never hear.
NOT_PASSED_ON = {
    "payments": {
        "empty-leg": "an amount is at least one minor unit",
        "not-balanced": "a payment has two legs of one amount",
        "value-date-in-future": "a payment has no value date of its own",
        "value-date-too-early": "a payment has no value date of its own",
        "no-such-transaction": "no payment has this id, is what is said",
    },
    "accounts": {
        "number-taken": "a number is given to one account, once",
        "ceiling-below-balance": "an account of a customer has no ceiling",
    },
}
# What ends a saga that this service runs by itself, and nobody waits for.
NEVER_HEARD = {
    "accounts": {
        "already-suspended": "an account is frozen with its customer once",
        "standing-is-old": "the newest standing of a customer is followed",
    },
}


def named(text: str) -> set[str]:
    """What is raised, or made to be raised or answered elsewhere."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            found |= {each.id for each in ast.walk(node.exc) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
    return found


def modules(*packages: str) -> Iterator[tuple[str, str]]:
    for package in packages:
        for path in sorted((SOURCE / "cbs" / package).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
                yield name.removesuffix(".__init__"), path.read_text()


def raised(*packages: str) -> set[str]:
    """The codes of the refusals that the source raises."""
    found = set()
    for module, text in modules(*packages):
        known = vars(import_module(module))
        types = [known.get(name) for name in named(text)]
        found |= {
            each.code for each in types if isinstance(each, type) and issubclass(each, Refusal)
        }
    return found


def defined(service: str) -> set[str]:
    return {
        each.code
        for module, _ in modules(service)
        for each in vars(import_module(module)).values()
        if isinstance(each, type) and issubclass(each, Refusal) and each.__module__ == module
    }


def declared(service: str) -> set[str]:
    """By its operations over HTTP and on the bus; an outage may come instead of any."""
    paths = document("openapi", service)["paths"].values()
    operations = [operation for path in paths for operation in path.values()]
    operations += document("asyncapi", service)["operations"].values()
    return {"unavailable"}.union(*(each.get(X_REFUSALS, []) for each in operations))


def of_others(service: str) -> set[str]:
    """What the operations refuse that it calls."""
    found: set[str] = set()
    for call in declaration_of(service).calls:
        other, verb = call.split(".")
        found |= set(document("asyncapi", other)["operations"][verb][X_REFUSALS])
    return found


def document(kind: str, service: str) -> Any:
    return json.loads((ROOT / "contracts" / kind / f"{service}.json").read_bytes())


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_raises_an_operation_declares(service):
    assert raised(service) - NEVER_HEARD.get(service, {}).keys() <= declared(service)


@pytest.mark.parametrize("service", SERVICES)
def test_what_an_operation_declares_somebody_raises(service):
    assert declared(service) <= raised(service, "platform", "kernel") | of_others(service)
    assert defined(service) <= raised(service) | of_others(service)


@pytest.mark.parametrize("service", SERVICES)
def test_what_others_refuse_is_passed_on_or_cannot_be(service):
    assert of_others(service) - declared(service) == NOT_PASSED_ON.get(service, {}).keys()


@pytest.mark.parametrize(
    "text",
    [
        "raise Closed",
        "raise Closed('long ago')",
        "raise Closed from None",
        "raise Closed if settled else Busy",
        "answer = known or Closed()",
    ],
)
def test_a_refusal_is_seen(text):
    assert "Closed" in named(text)


def test_a_refusal_that_is_only_caught_is_not_raised():
    assert named("try: post()\nexcept Closed: pass\nraise") == {"post"}
