"""What the gate and a Pact Broker tell each other, over HTTP."""

import json
from datetime import timedelta

import msgspec
import pytest
from typer.testing import CliRunner

from cbs.tools.cli.main import app_of
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.environments import APPLICATIONS, Environment, There, environment
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.hal import BASE_URL, Hal
from cbs.tools.release.gate.pact_broker import PactBroker
from cbs.tools.release.gate.records import RESULT_DAYS_MAX, GateAnswer, PutAs, StoreUnreachable
from tests.release.listening import serving
from tests.release.pact_brokers import FakeBroker
from tests.release.promises import PACT, broker_store, deployment, result

TOKEN = "s3cret-token"


def posted(fake, what):
    return [path for method, path, _ in fake.asked if method == "POST" and path.endswith(what)]


# --- results -------------------------------------------------------------------------------------


def test_what_the_broker_misses_of_a_consumer_is_published_with_the_result(fake, store):
    store.keep(result())

    assert fake.pacts.keys() == {("accounts", "a1", "ledger")}
    ((_, version, success, results),) = fake.verified
    assert (version, success) == ("l1", True) and results["cbs"]["provider_content"] == "c1"


def test_a_pact_that_was_not_verified_is_not_published_in_its_name(fake, tmp_path):
    store = broker_store(fake.url, tmp_path, pacts=())

    with pytest.raises(StoreUnreachable, match="no such pact with ledger"):
        store.keep(result())

    assert not fake.pacts and not fake.verified


def test_a_result_found_by_content_is_told_of_each_pair_of_versions_once(fake, store):
    store.keep(result())

    for _ in range(2):
        store.stands_for(result(), consumer_version="a2", provider_version="l2")
        store.stands_for(result(), consumer_version="a1", provider_version="l1")

    assert [version for _, version, *_ in fake.verified] == ["l1", "l2"]
    assert len(posted(fake, "/verification-results")) == 2


def test_what_others_verified_in_their_own_way_is_left_alone(fake, store, tmp_path):
    store.keep(result())
    (sha, *_) = fake.verified[0]
    fake.verified.append((sha, "l9", True, {"tests": []}))
    fake.verified.append((sha, "l8", True, None))

    assert broker_store(fake.url, tmp_path / "other").results() == [result()]


def test_applications_of_others_at_the_same_broker_are_none_of_ours(fake, store):
    foreign = {"consumer": {"name": "shop"}, "provider": {"name": "till"}, "interactions": []}
    fake.pacts["shop", "s1", "till"] = "f" * 40
    fake.contents["f" * 40] = foreign
    fake.verified.append(("f" * 40, "t1", True, {"cbs": "not to be read"}))
    store.record(deployment("l1"))
    fake._put("till", "t1", fake.environments["test"], released=False)

    assert store.results() == []
    assert [each.application for each in store.deployments("test")] == ["ledger"]


def test_only_what_is_new_is_fetched_again(fake, store, tmp_path):
    store.keep(result())
    for _ in range(2):
        broker_store(fake.url, tmp_path / "other").results()

    fetched = [path for method, path, _ in fake.asked if "/verification-results/" in path]
    assert len(fetched) == 1


def test_the_newest_result_of_a_content_counts_in_whatever_order_they_are_found(fake, tmp_path):
    newer = result(at=result().at + timedelta(seconds=1))
    broker_store(fake.url, tmp_path / "one").keep(newer)
    broker_store(fake.url, tmp_path / "two").keep(result(provider_version="l2"))

    assert broker_store(fake.url, tmp_path / "three").results() == [newer]


def test_a_stale_result_is_looked_for_at_the_broker(fake, tmp_path):
    old = result(at=result().at - timedelta(days=RESULT_DAYS_MAX + 1))
    here = broker_store(fake.url, tmp_path / "here")
    here.keep(old)
    broker_store(fake.url, tmp_path / "there").keep(result(provider_version="l2"))

    assert here.result(PACT.id, "c1") == result(provider_version="l2")


# --- what it is told, and asked ------------------------------------------------------------------


def test_the_broker_gives_an_opinion(fake, store):
    opinion = lambda: store.opinion("ledger", "l1", "test").answer

    assert opinion() is GateAnswer.UNKNOWN  # it knows neither
    store.record(deployment("a1", application="accounts"))
    store.broker.publish("accounts", "a1", branch=None, pacts=[PACT])
    store.broker.ensure_version("ledger", "l1")
    assert opinion() is GateAnswer.UNKNOWN
    store.keep(result())
    assert opinion() is GateAnswer.YES
    store.keep(result(error="it fell over"))
    assert opinion() is GateAnswer.NO


def test_a_provider_is_given_the_pacts_that_its_build_must_and_may_hold(fake, store):
    broker = store.broker
    other = msgspec.json.decode(PACT.body) | {"interactions": [{"description": "new"}]}
    wish = type(PACT)("accounts", "ledger", json.dumps(other).encode())
    gone = other | {"interactions": [{"description": "gone"}]}
    unwanted = type(PACT)("accounts", "ledger", json.dumps(gone).encode())
    broker.publish("accounts", "a1", branch="main", pacts=[PACT])
    broker.publish("accounts", "a2", branch="feature", pacts=[wish])
    broker.publish("accounts", "a3", branch="elsewhere", pacts=[unwanted])
    store.keep(result())

    found = list(broker.pacts_to_verify("ledger", "feature"))

    assert [(each.consumer_version, each.wished) for each in found] == [("a1", False), ("a2", True)]
    assert [json.loads(each.content) for each in found] == [json.loads(PACT.body), other]


def test_an_environment_that_somebody_else_makes_meanwhile_is_taken(fake, store, monkeypatch):
    made = store.broker.environment("test")
    lists = iter([{}, {"test": made}])
    monkeypatch.setattr(PactBroker, "environments", lambda self: next(lists))

    assert store.broker.environment("test") == made


# --- who may, and what is no broker --------------------------------------------------------------


def test_the_token_goes_along_and_is_not_told(tmp_path):
    with serving(FakeBroker(token=TOKEN)) as fake:
        broker_store(fake.url, tmp_path, token=TOKEN).keep(result())
        stranger = broker_store(fake.url, tmp_path, token="wrong-token")

        with pytest.raises(StoreUnreachable, match=r"401.*PACT_BROKER_TOKEN") as said:
            stranger.record(deployment("l1"))

        assert "wrong-token" not in str(said.value)
        assert TOKEN not in repr(broker_store(fake.url, tmp_path, token=TOKEN))


def test_a_link_to_another_host_is_not_followed(fake, store):
    store.broker.publish("accounts", "a1", branch=None, pacts=[PACT])
    with serving(FakeBroker()) as thief:
        fake.url, own = thief.url, fake.url

        with pytest.raises(StoreUnreachable, match=r"links to http://127\.0\.0\.1"):
            store.keep(result())

        fake.url = own
        assert thief.asked == []


@pytest.mark.parametrize("answer", [b"<html>a shop</html>", b'{"something": "else"}'])
def test_what_is_no_broker_is_told_as_that(fake, store, answer, monkeypatch):
    monkeypatch.setattr(Hal, "_call", lambda *_: answer)

    with pytest.raises(StoreUnreachable, match="no Pact Broker's"):
        store.environments()


@pytest.mark.parametrize("url", ["http://asha:pw@broker:9292", "broker:9292", "ftp://broker"])
def test_a_url_that_cannot_be_meant_is_refused_without_its_password(url):
    with pytest.raises(StoreUnreachable, match=BASE_URL) as said:
        Hal.of({BASE_URL: url})

    assert "pw" not in str(said.value).replace("PASSWORD", "")


# --- the gate ------------------------------------------------------------------------------------


def asked(history, store, *, of="HEAD"):
    """The gate about the provider, whose consumer is deployed in the first commit's version."""
    first = history.first()
    test = Environment("test", [There("accounts", first)], [], seen=True)
    gate = Gate(history=history, store=store, run=None, say=lambda _: None)
    return gate.can_i_deploy("ledger", history.sha(of), test)


def kept_of_first(history, store):
    first = history.first()
    content = history.content("ledger", first)
    store.keep(result(consumer_version=first, provider_version=first, provider_content=content))
    store.record(deployment(first, application="accounts"))
    for other in ("audit", "cbs-cli", "gateway", "payments"):
        store.record(deployment("", application=other, way=PutAs.UNDEPLOYED))


def test_the_gate_notes_that_the_broker_agrees_of_versions_that_were_never_verified_as_such(
    fake, store, history
):
    kept_of_first(history, store)

    verdict = asked(history, store)

    assert verdict.answer is GateAnswer.YES
    assert [version for _, version, *_ in fake.verified] == [history.first(), history.sha("HEAD")]
    (note,) = [note for note in verdict.notes if "Pact Broker" in note]
    assert note.startswith("the Pact Broker says yes, too")


def test_that_the_broker_disagrees_is_a_finding(fake, store, history):
    kept_of_first(history, store)
    asked(history, store)
    (sha, *_) = fake.verified[0]
    fake.verified.append((sha, history.sha("HEAD"), False, {"tests": ["of somebody else"]}))

    verdict = asked(history, store)

    assert verdict.answer is GateAnswer.YES
    assert any("says no where the gate says yes" in note for note in verdict.notes)


def test_a_store_that_only_keeps_has_no_opinion(history, tmp_path):
    store = BlobStore(FolderBlobs(tmp_path / "folder"))
    kept_of_first(history, store)

    assert not [note for note in asked(history, store).notes if " says " in note]


def test_what_is_there_in_two_ways_is_one_finding(history):
    first, head = history.first(), history.sha("HEAD")
    recorded = [deployment(first), deployment(first, PutAs.RELEASED)]

    found = environment("test", recorded, [There("ledger", head)], history)

    assert len([each for each in found.findings if "something else runs" in each]) == 1


# --- cbs release publish -------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(app_of(), ["release", *words])


def test_a_commit_is_published_with_every_application_whether_it_has_pacts_or_not(
    fake, history, monkeypatch
):
    monkeypatch.setenv(BASE_URL, fake.url)
    head = history.sha("HEAD")

    for _ in range(2):
        done = run("publish", "--repository", str(history.root), "--json")
        assert done.exit_code == 0, done.output

    assert fake.versions == {(name, head): ["main"] for name in APPLICATIONS}
    assert fake.pacts.keys() == {("accounts", head, "ledger")}


def test_record_tells_the_broker_and_an_explicit_store_wins(fake, history, monkeypatch, tmp_path):
    monkeypatch.setenv(BASE_URL, fake.url)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    words = ("record", "ledger", "--to", "test", "--repository", str(history.root))

    assert run(*words).exit_code == 0
    assert [put["name"] for put in fake.deployed] == ["ledger"]

    asked_before = len(fake.asked)
    assert run(*words, "--store", str(tmp_path / "own")).exit_code == 0
    assert len(fake.asked) == asked_before
    kept = BlobStore(FolderBlobs(tmp_path / "own")).deployments("test")
    assert [each.way for each in kept] == [PutAs.DEPLOYED]
