"""What the gate said is in the audit log of the bank once, however often and late it is brought."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbs.tools.local.plan import SOURCE
from cbs.tools.local.waiting import wait_until
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.provider_verification.world import BankUnderTest, world
from tests.gate.clone import Clone

HEARD_SECONDS_MAX = 30
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankUnderTest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SOURCE))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with world() as up:
            yield up


@pytest.fixture
def gate(clone: Clone) -> Clone:
    """The same commits, and a memory of its own."""
    home = clone.home.with_name("auditor")
    home.mkdir()
    return Clone(clone.root, home)


def judged(bank: BankUnderTest, at_least: int) -> list[dict[str, str]]:
    """What the log has of the gate, once it has so much."""
    found: list[dict[str, str]] = []

    def are_enough() -> bool:
        answer = bank.ask("GET", "/v1/audit/entries?source=audit&limit=100", user="operator")
        assert answer.status == 200, answer.said
        items = json.loads(answer.body)["items"]
        bodies = [each["body"] for each in items if each["fact"] == "release-judged"]
        found[:] = [json.loads(body)["data"] for body in bodies]
        return len(found) >= at_least

    wait_until(are_enough, seconds=HEARD_SECONDS_MAX)
    return found


def test_a_verdict_waits_for_a_bank_and_is_in_its_log_once(
    clone: Clone, gate: Clone, bank: BankUnderTest, tmp_path: Path
):
    sha = gate.git("rev-parse", "main")
    gate.record("ledger", sha)
    ask = ("release", "can-i-deploy", "ledger", "--version", sha, "--to", "prod", "--no-run")
    first = gate.cbs(*ask, "--json", "--data", str(tmp_path / "no-bank"))
    assert "1 verdict waits for a bank whose audit log is up" in first.stderr
    assert judged(bank, 0) == []

    second = gate.cbs(*ask, "--json", "--data", str(bank.folder.root))

    assert "wait" not in second.stderr
    signatures = {json.loads(each.stdout)["signature"] for each in (first, second)}
    found = judged(bank, 2)
    assert {each["signature"] for each in found} == signatures
    assert {each["version"] for each in found} == {sha}

    # As if the gate had been killed after it was heard and before it could note that.
    store = BlobStore(FolderBlobs(gate.store))
    for each in store.verdicts():
        assert each.audited
        each.audited = False
        store.keep_verdict(each)
    third = gate.cbs(*ask, "--json", "--data", str(bank.folder.root))

    signatures.add(json.loads(third.stdout)["signature"])
    found = judged(bank, 3)
    assert sorted(each["signature"] for each in found) == sorted(signatures)
    assert all(each.audited for each in store.verdicts())
