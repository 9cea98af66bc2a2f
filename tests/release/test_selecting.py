"""A build is verified with what the broker selects, and the broker hears of it."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from cbs.tools.cli.main import app_of
from cbs.tools.release.builds import banks
from cbs.tools.release.gate.hal import BASE_URL
from cbs.tools.release.gate.history import PACTS, Pact
from cbs.tools.release.gate.records import StoreUnreachable
from cbs.tools.release.gate.selectors import publish_results, selection
from cbs.tools.release.gate.signatures import is_as_signed
from cbs.tools.release.provider_verification.report import InteractionOutcome, Verified
from tests.release.place import OPERATOR
from tests.release.promises import PACT, result

WISH = Pact("accounts", "ledger", PACT.body.replace(b"opens a book", b"closes a book"))
STRANGE = Pact("shop", "ledger", PACT.body.replace(b"accounts", b"shop"))


@pytest.fixture
def own(history):
    return [history.root / PACTS / "accounts-ledger.json"]


@pytest.fixture
def published(history, store):
    """Of main what the clone has, of the branch `main` of another consumer's build a wish."""
    head = history.sha("HEAD")
    store.broker.publish("accounts", head, branch="main", pacts=[PACT])
    store.keep(result(consumer_version=head, provider_content="old"))
    store.broker.publish("accounts", "elsewhere", branch="main", pacts=[WISH])
    store.broker.publish("shop", "s1", branch="main", pacts=[STRANGE])


def verified(held=True):
    outcomes = [InteractionOutcome(description="opens a book", held=held)]
    return Verified(consumer="accounts", provider="ledger", outcomes=outcomes)


def test_what_the_clone_has_is_not_verified_twice_and_a_wish_is_told_from_a_promise(
    published, history, store, own, tmp_path
):
    found = selection(store, history, {"ledger"}, own=own, folder=tmp_path)

    assert [pact.consumer for pact in found.pacts] == ["accounts", "accounts"]
    assert found.added(own, wished=False) == []
    (wish,) = found.added(own, wished=True)
    assert json.loads(wish.read_bytes()) == json.loads(WISH.body)
    assert [*found.files] == [own[0], wish]


def test_what_is_deployed_and_no_more_in_the_clone_must_hold(history, store, own, tmp_path):
    store.broker.publish("accounts", "old", branch="gone", pacts=[WISH])
    store.broker.put("accounts", "old", "test", released=True)
    store.keep(result(pact=WISH.id, consumer_version="old"))

    found = selection(store, history, {"ledger"}, own=own, folder=tmp_path)

    (must,) = found.added(own, wished=False)
    assert json.loads(must.read_bytes()) == json.loads(WISH.body)


def test_the_broker_hears_of_each_and_others_find_it_by_content(
    published, fake, history, store, own, tmp_path
):
    found = selection(store, history, {"ledger"}, own=own, folder=tmp_path)

    results = dict(zip(found.files, [verified(), verified(False)], strict=True))
    said = publish_results(store, history, found, results, OPERATOR)

    assert "2 of 2" in said
    head = history.sha("HEAD")
    assert [(version, good) for _, version, good, _ in fake.verified[1:]] == [
        (head, True),
        (head, False),
    ]
    kept = store.result(PACT.id, history.content("ledger", head))
    assert kept is not None and kept.held and is_as_signed(kept)


def test_of_a_changed_work_tree_the_broker_is_told_nothing(
    published, fake, history, store, own, tmp_path
):
    found = selection(store, history, {"ledger"}, own=own, folder=tmp_path)
    own[0].write_bytes(WISH.body)
    before = len(fake.verified)

    results = dict(zip(found.files, [verified(), verified()], strict=True))
    said = publish_results(store, history, found, results, OPERATOR)

    assert "told nothing" in said and len(fake.verified) == before


def test_without_a_branch_nothing_is_matched(history, store, own, tmp_path):
    git = ["git", "-C", str(history.root), "checkout", "-q", "--detach"]
    subprocess.run(git, check=True)

    with pytest.raises(StoreUnreachable, match="no branch"):
        selection(store, history, {"ledger"}, own=own, folder=tmp_path)


def test_a_verification_with_no_broker_cannot_say(monkeypatch):
    monkeypatch.delenv(BASE_URL, raising=False)

    done = CliRunner().invoke(app_of(), ["contracts", "verify", "ledger", "--broker"])

    assert done.exit_code == 3 and f"{BASE_URL} is not set" in done.output


def test_two_pacts_of_one_pair_have_a_bank_each(tmp_path):
    files = []
    for n, (consumer, provider) in enumerate(
        [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y"), ("a", "x")]
    ):
        file = tmp_path / f"{n}.json"
        names = {"consumer": {"name": consumer}, "provider": {"name": provider}}
        file.write_text(json.dumps({**names, "interactions": [{"n": n}]}))
        files.append(file)

    shared = [[file.stem for file in bank] for bank in banks(files)]

    assert shared == [["0", "1", "3"], ["2"], ["4"]]
