"""Every provider, as it runs, keeps every pact; and a verification says so only where it is so."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema_rs  # pants: no-infer-dep (schemathesis brings it)
import msgspec
import pytest

from cbs.tools.local.plan import SOURCE
from cbs.tools.release.provider_verification import program
from cbs.tools.release.provider_verification.report import VerificationReport

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "contracts" / "pacts").glob("*.json"))
assert program  # run as `python -m` below

pytestmark = pytest.mark.timeout(400)


def planted(folder: Path, name: str, change) -> Path:
    """A committed pact with something else in it, under a consumer's name of its own."""
    document = json.loads((ROOT / "contracts" / "pacts" / name).read_text())
    change(document)
    file = folder / f"planted-{len(list(folder.iterdir()))}-{name}"
    file.write_text(json.dumps(document))
    return file


def interaction(document: dict, description: str) -> dict:
    """The only one that is left in the document."""
    found: dict
    (found,) = [i for i in document["interactions"] if i["description"] == description]
    document["interactions"] = [found]
    return found


def rename_subject(document):
    found = interaction(document, "show a transaction that is not there")
    found["request"]["metadata"]["subject"] = "cbs.ledger.transactions"


def rename_state(document):
    found = interaction(document, "the standing of a customer")
    found["providerStates"][0]["name"] = "a customer of the moon"


def ask_for_more(document):
    found = interaction(document, "show a transaction")
    found["response"][0]["contents"]["content"]["data"]["transaction"]["branch"] = "0011"


def wish_for_more(document):
    ask_for_more(document)
    document["interactions"][0]["pending"] = True


def another_status(document):
    interaction(document, "a transfer")["response"]["status"] = 200


def another_fact(document):
    found = interaction(document, "the fact account-set")
    found["metadata"]["subject"] = "cbs.ledger.events.account-changed"


def newcomer(document):
    found = interaction(document, "the facts after a position")
    document["consumer"]["name"] = "newcomer"
    found["request"]["contents"]["content"]["token"] = "the token of newcomer"


def nothing(document):
    document["interactions"] = []


PLANTED = {
    "payments-ledger.json": [rename_subject, ask_for_more, wish_for_more],
    "accounts-customers.json": [rename_state],
    "partner-payments.json": [another_status],
    "audit-ledger.json": [another_fact, newcomer],
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VerificationReport:
    """One bank for all: the committed pacts first, then those in which something is planted."""
    folder, out = tmp_path_factory.mktemp("planted"), tmp_path_factory.mktemp("out") / "report.json"
    files = [planted(folder, name, change) for name, all in PLANTED.items() for change in all]
    argv = [sys.executable, "-P", "-m", "cbs.tools.release.provider_verification.program", str(out)]
    done = subprocess.run(
        [*argv, *map(str, COMMITTED), *map(str, files)],
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(out.read_bytes(), type=VerificationReport)


def test_every_pact_is_kept_by_its_provider(report):
    kept = report.verified[: len(COMMITTED)]

    assert report.error == ""
    assert [(each.consumer, each.provider) for each in kept] == [
        tuple(file.stem.rsplit("-", 1)) for file in COMMITTED
    ]
    assert [o for each in kept for o in each.outcomes if not o.held] == []
    assert sum(len(each.outcomes) for each in kept) == sum(
        len(json.loads(file.read_text())["interactions"]) for file in COMMITTED
    )


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (0, "nobody answers cbs.ledger.transactions, or payments may not ask it"),
        (1, "branch"),
        (3, "no state 'a customer of the moon'"),
        (4, "expected 200 but was 201"),
        (5, "nothing was published on cbs.ledger.events.account-changed"),
    ],
)
def test_what_is_not_kept_is_said(report, place, why):
    planted = report.verified[len(COMMITTED) + place]

    (outcome,) = planted.outcomes
    assert not planted.held
    assert not outcome.held
    assert why in " ".join(outcome.why)


def test_a_consumer_that_this_version_does_not_know_yet_is_answered(report):
    planted = report.verified[-1]

    assert planted.consumer == "newcomer"
    assert [(each.held, each.why) for each in planted.outcomes] == [(True, [])]


def asyncapi(service: str) -> dict:
    document: dict = json.loads((ROOT / "contracts" / "asyncapi" / f"{service}.json").read_text())
    return document


def payload_of(document: dict, heard) -> dict:
    """The schema of what was heard, by the published document alone."""
    channels = document["channels"]
    name = next(name for name, each in channels.items() if each["address"] == heard.subject)
    message = name if heard.is_fact else name.removesuffix("-request") + "-reply"
    schema = document["components"]["messages"][message]["payload"]
    return {**schema, "components": document["components"]}


def faults(document: dict, heard) -> list[str]:
    said = json.loads(heard.body)
    if not heard.is_fact:
        if "refused" in said:
            return []
        said = said["data"]
    validator = jsonschema_rs.validator_for(payload_of(document, heard))
    return [f"{heard.subject}: {error.message}" for error in validator.iter_errors(said)]


def test_recorded_messages_are_as_asyncapi_says(report):
    kept = report.verified[: len(COMMITTED)]
    heard = [(each.provider, message) for each in kept for message in each.messages]

    assert len({message.subject for _, message in heard}) > 25
    assert [f for provider, message in heard for f in faults(asyncapi(provider), message)] == []


@pytest.mark.parametrize("is_fact", [True, False])
def test_a_message_that_is_not_as_asyncapi_says_is_seen(report, is_fact):
    field = "legs" if is_fact else "transaction"
    (heard, *_) = [
        message
        for each in report.verified
        for message in each.messages
        if message.is_fact is is_fact and message.body.count(f'"{field}":')
    ]
    wrong = msgspec.structs.replace(heard, body=heard.body.replace(f'"{field}":', '"renamed":'))

    assert faults(asyncapi("ledger"), heard) == []
    assert faults(asyncapi("ledger"), wrong) != []


def test_a_wish_that_is_not_fulfilled_breaks_no_build_but_is_said(report):
    planted = report.verified[len(COMMITTED) + 2]

    (outcome,) = planted.outcomes
    assert (outcome.held, outcome.pending) == (False, True)
    assert planted.held
    assert not planted.held_whole


def test_a_pact_without_interactions_is_not_verified(tmp_path):
    file, out = planted(tmp_path, "payments-ledger.json", nothing), tmp_path / "report.json"
    argv = [
        sys.executable,
        "-P",
        "-m",
        "cbs.tools.release.provider_verification.program",
        str(out),
        str(file),
    ]

    subprocess.run(argv, env={"PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)}, check=True)

    report = msgspec.json.decode(out.read_bytes(), type=VerificationReport)
    assert "has no interactions" in report.error
    assert report.verified == []
