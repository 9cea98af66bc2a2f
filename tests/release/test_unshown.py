"""What no example shows: values that a reader does not know, what is sent and not read any more."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cbs.bank import SERVICES
from cbs.tools.release.gate.environments import There
from cbs.tools.release.gate.history import Pact, pact_of
from cbs.tools.release.gate.needs import Need
from cbs.tools.release.gate.records import GateAnswer
from cbs.tools.release.gate.unshown import READS, Documents, unshown

CONTRACTS = Path(__file__).parents[2] / "contracts"
KINDS = ("openapi", "asyncapi")
Tree = dict[str, Any]
NO, UNKNOWN = GateAnswer.NO, GateAnswer.UNKNOWN


def documents(service: str) -> Tree:
    return {kind: json.loads((CONTRACTS / kind / f"{service}.json").read_text()) for kind in KINDS}


def pact(consumer: str, provider: str) -> Pact:
    return pact_of((CONTRACTS / "pacts" / f"{consumer}-{provider}.json").read_bytes())


def need(which: Pact) -> Need:
    return Need(which, There(which.consumer, "c" * 40), There(which.provider, "f" * 40))


def without_comments(which: Pact) -> Pact:
    body = json.loads(which.body)
    for each in body["interactions"]:
        each.pop("comments", None)
    return pact_of(json.dumps(body).encode())


def enums(node: Any) -> Iterator[Tree]:
    if isinstance(node, dict):
        if "enum" in node:
            yield node
        for each in node.values():
            yield from enums(each)
    elif isinstance(node, list):
        for each in node:
            yield from enums(each)


def currencies(tree: Tree) -> list[Tree]:
    found = [each for each in enums(tree) if "INR" in each["enum"]]
    assert found
    return found


def gains(tree: Tree) -> None:
    for each in currencies(tree):
        each["enum"].append("SGD")


def loses(tree: Tree) -> None:
    for each in currencies(tree):
        each["enum"].remove("EUR")


def is_free(tree: Tree) -> None:
    for each in currencies(tree):
        del each["enum"]
        each["type"] = "string"


def parameter(name: str, new: str = "") -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        for path in tree["openapi"]["paths"].values():
            for operation in path.values():
                kept = operation.get("parameters", [])
                for each in [each for each in kept if each["name"] == name]:
                    each["name"] = new or "gone"

    return change


@pytest.mark.parametrize("file", sorted((CONTRACTS / "pacts").iterdir()), ids=lambda f: f.stem)
def test_what_is_committed_is_understood_by_all_who_are_there(file):
    which = pact_of(file.read_bytes())
    same = Documents(**documents(which.provider))

    assert unshown(need(which), [same], same) == []
    assert unshown(need(which), [], same) == []
    assert all(READS in each["comments"] for each in json.loads(which.body)["interactions"])


@pytest.mark.parametrize(
    ("pair", "change", "answer", "told"),
    [
        (("payments", "ledger"), gains, NO, "SGD can come to payments@cccccccccc"),
        (("payments", "ledger"), is_free, NO, "any text can come to payments@cccccccccc"),
        (("payments", "ledger"), loses, UNKNOWN, "EUR is not taken any more by ledger@ffffffffff"),
        (("partner", "payments"), gains, None, ""),
        (("partner", "payments"), loses, UNKNOWN, "from partner@cccccccccc at $.currency"),
        (("partner", "payments"), parameter("account", "number"), NO, "sends account"),
        (("partner", "payments"), parameter("Idempotency-Key"), NO, "sends idempotency-key"),
        (("partner", "payments"), parameter("cursor"), None, ""),
    ],
)
def test_a_change_that_no_example_shows(pair, change, answer, told):
    before = documents(pair[1])
    after = copy.deepcopy(before)
    change(after)
    assert after != before

    reasons = unshown(need(pact(*pair)), [Documents(**before)], Documents(**after))

    assert {each.answer for each in reasons} == ({answer} if answer else set())
    assert not reasons or told in reasons[0].why


def test_of_a_reader_who_does_not_tell_what_it_knows_it_cannot_be_said():
    before = documents("ledger")
    after = copy.deepcopy(before)
    gains(after)
    old = without_comments(pact("payments", "ledger"))

    reasons = unshown(need(old), [Documents(**before)], Documents(**after))

    assert {each.answer for each in reasons} == {UNKNOWN}
    assert "its pact does not tell which values it knows" in reasons[0].why


def test_a_new_reader_must_know_what_comes_already():
    which = pact("payments", "ledger")
    body = json.loads(which.body)
    for each in body["interactions"]:
        if isinstance(known := each["comments"][READS], dict):
            known.update({place: values[1:] for place, values in known.items()})
    forgetful = pact_of(json.dumps(body).encode())

    reasons = unshown(need(forgetful), [], Documents(**documents("ledger")))

    assert {each.answer for each in reasons} == {NO}
    assert reasons[0].why.startswith("AED can come to payments@")


def test_every_service_has_documents():
    for service in SERVICES:
        assert all(documents(service)[kind] for kind in KINDS)


def test_what_many_interactions_have_in_common_is_told_once():
    before = documents("ledger")
    after = copy.deepcopy(before)
    gains(after)

    (reason,) = unshown(need(pact("payments", "ledger")), [Documents(**before)], Documents(**after))

    assert reason.why.endswith(
        ": post a cash-deposit, post a cash-withdrawal, post a transfer and 1 more"
    )
