"""Pacts are what the consumers' own code reads today, and no conversation is without one."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cbs.bank import SERVICES
from cbs.platform.declaration import FACTS, declaration_of
from cbs.tools.release.contracts import pacts
from cbs.tools.release.pacts.conversation import Conversation, example_of
from cbs.tools.release.pacts.reading import unread

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "contracts" / "pacts").glob("*.json"))


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


# What is heard and passed over: payments digests one of the ledger's facts and skips the others.
SKIPPED = {
    ("payments", f"cbs.ledger.events.{fact}") for fact in ("account-set", "permission-refused")
}


def declared() -> set[tuple[str, str]]:
    """Who uses which subject, by what services declare; what one hears of itself is nobody's."""
    found = set()
    for service in SERVICES:
        connections = declaration_of(service)
        found |= {(service, f"cbs.{call}") for call in connections.calls}
        for source in set(connections.hears) - {service}:
            found.add((service, f"cbs.{source}.{FACTS}"))
            found |= {(service, subject) for subject in facts_of(source)}
    return found - SKIPPED


def test_every_subject_that_is_called_or_heard_is_in_a_pact():
    assert said(documents()) == declared()


@pytest.mark.parametrize("pair", [("payments", "cbs.ledger.post"), ("audit", "cbs.ledger.facts")])
def test_a_subject_without_an_interaction_is_seen(pair):
    consumer, subject = pair
    left = documents()
    for pact in left:
        if pact["consumer"]["name"] == consumer:
            pact["interactions"] = [i for i in pact["interactions"] if subject not in str(i)]

    assert declared() - said(left) == {pair}


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
