"""Pacts are what the consumers' own code reads today, and no conversation is without one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pact import match

from cbs.bank import SERVICES
from cbs.platform.declaration import FACTS, declaration_of
from cbs.tools.release.contracts import pacts
from cbs.tools.release.pacts.conversation import Conversation
from cbs.tools.release.pacts.reading import example_of, loose_money, unread

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "contracts" / "pacts").glob("*.json"))


RULE_OF_MONEY = r'"\$\.[^"]*(?:_minor|currency)"'


def documents() -> list[dict]:
    return [json.loads(file.read_text()) for file in COMMITTED]


@pytest.mark.timeout(240)
def test_the_pacts_are_as_the_code_byte_for_byte():
    written = {place.name: text for place, text in pacts().items()}

    assert sorted(written) == [file.name for file in COMMITTED], "run ./cbs contracts write"
    for file in COMMITTED:
        assert file.read_text() == written[file.name], f"{file.name}: run ./cbs contracts write"


def said(pacts: list[dict]) -> set[tuple[str, str]]:
    """Who uses which subject, by the pacts."""
    return {
        (pact["consumer"]["name"], metadata["subject"])
        for pact in pacts
        for each in pact["interactions"]
        if (metadata := (each.get("metadata") or each["request"].get("metadata")))
    }


def facts_of(service: str) -> Iterator[str]:
    """The subjects of a service's facts, by its AsyncAPI."""
    document = json.loads((ROOT / "contracts" / "asyncapi" / f"{service}.json").read_text())
    for channel in document["channels"].values():
        if ".events." in (channel["address"] or ""):
            yield channel["address"]


def declared() -> set[tuple[str, str]]:
    """Who asks whom for what, by what services declare; of itself one asks nobody."""
    found = set()
    for service in SERVICES:
        connections = declaration_of(service)
        found |= {(service, f"cbs.{call}") for call in connections.calls}
        found |= {(service, f"cbs.{source}.{FACTS}") for source in connections.hears}
    return {(service, subject) for service, subject in found if subject.split(".")[1] != service}


def test_every_subject_that_is_called_is_in_a_pact():
    asked = {(service, subject) for service, subject in said(documents()) if not fact_in(subject)}

    assert asked == declared()


@pytest.mark.parametrize("pair", [("payments", "cbs.ledger.post"), ("audit", "cbs.ledger.facts")])
def test_a_subject_without_an_interaction_is_seen(pair):
    consumer, subject = pair
    left = documents()
    for pact in left:
        if pact["consumer"]["name"] == consumer:
            pact["interactions"] = [i for i in pact["interactions"] if subject not in str(i)]

    assert declared() - said(left) == {pair}


def fact_in(subject: str) -> bool:
    return ".events." in subject


def unheard(pacts: list[dict]) -> list[tuple[str, str]]:
    """Who hears whom without a fact in the pact; audit keeps every fact there is."""
    heard = {pair for pair in said(pacts) if fact_in(pair[1])}
    found = []
    for service in SERVICES:
        for source in set(declaration_of(service).hears) - {service}:
            facts = {(service, subject) for subject in facts_of(source)}
            if not facts & heard or (service == "audit" and facts - heard):
                found.append((service, source))
    return found


def test_whoever_hears_a_service_reads_some_fact_of_it_and_audit_every_one():
    assert unheard(documents()) == []


@pytest.mark.parametrize("pair", [("payments", "ledger"), ("audit", "ledger")])
def test_one_that_reads_no_fact_or_not_every_one_is_seen(pair):
    left = [each for each in documents() if each["consumer"]["name"] == pair[0]]
    for pact in left:
        pact["interactions"] = [i for i in pact["interactions"] if "-posted" not in str(i)]

    assert pair in unheard(left)


def test_every_http_service_has_readers_over_http():
    over_http = {
        pact["provider"]["name"]
        for pact in documents()
        for each in pact["interactions"]
        if each["type"] == "Synchronous/HTTP"
    }

    assert over_http == set(SERVICES)


def test_descriptions_are_unique_in_a_pact():
    for pact in documents():
        names = [each["description"] for each in pact["interactions"]]
        assert names, "a pact without interactions promises nothing"
        assert len(names) == len(set(names)), names


class Leg(msgspec.Struct):
    account: str


class Posted(msgspec.Struct):
    id: str
    legs: list[Leg]
    note: str | None = None


@pytest.mark.parametrize(
    ("example", "wrong"),
    [
        ({"id": "1", "legs": [{"account": "7"}]}, []),
        ({"id": "1", "legs": [], "note": None}, []),
        ({"id": "1", "legs": [{"account": "7", "seq": 1}]}, ["$.legs[0].seq is not read"]),
        ({"legs": []}, ["$.id is read, but not in the example"]),
    ],
)
def test_a_pact_asks_for_exactly_what_is_read(example, wrong):
    assert unread(example, Posted) == wrong


@pytest.mark.parametrize(
    ("reply", "loose"),
    [
        ({"amount_minor": 5, "currency": "INR", "id": match.type("a")}, []),
        ({"amount_minor": match.int(5)}, ["$.amount_minor"]),
        ({"legs": [{"balance_after_minor": match.type(5)}]}, ["$.legs[0].balance_after_minor"]),
        ({"currency": match.regex("INR", regex="^[A-Z]{3}$")}, ["$.currency"]),
        ({"legs": match.each_like({"amount_minor": 5}, min=1)}, ["$.legs[0].amount_minor"]),
    ],
)
def test_money_is_matched_by_its_value(reply, loose):
    assert [each.partition(" ")[0] for each in loose_money(reply)] == loose


def test_no_committed_pact_has_money_by_its_type():
    rules = {
        (pact["consumer"]["name"], place)
        for pact in documents()
        for each in pact["interactions"]
        for place in re.findall(RULE_OF_MONEY, json.dumps({**each, "comments": {}}))
    }

    assert rules == set()


def test_a_conversation_that_asks_for_more_than_its_client_reads_is_refused():
    conversation = Conversation("payments", "ledger")

    async def work(bus):
        await bus.call("ledger.post", {}, Leg)

    with pytest.raises(AssertionError, match="balance_minor is not read"):
        conversation.asks("post", work, data={"account": "7", "balance_minor": 5})


def test_a_client_that_cannot_read_its_own_example_is_seen():
    conversation = Conversation("payments", "ledger")

    async def work(bus):
        await bus.call("ledger.post", {}, Leg)

    with pytest.raises(msgspec.ValidationError):
        conversation.asks("post", work, data={"account": 7})


def test_an_example_is_what_stands_in_the_matchers():
    from cbs.tools.release.pacts.conversation import some_id, some_of

    assert example_of({"legs": some_of({"id": some_id("x")})}) == {"legs": [{"id": "x"}]}
