"""Wherever the gate's memory is, it keeps the promises of the port."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.objects import NatsBlobs
from cbs.tools.release.gate.records import PutAs, Store, StoreUnreachable
from cbs.tools.release.provider_verification.report import InteractionOutcome
from tests.release.listening import dead, mute, serving
from tests.release.pact_brokers import FakeBroker
from tests.release.promises import AT, PACT, SECONDS_MAX, broker_store, deployment, result, signed


@dataclass
class Kept:
    """`open` gives the same memory to another process; `damage` spoils the one result in it."""

    open: Callable[[], Store]
    damage: Callable[[], None]


def in_folder(stack, tmp_path, nats_url) -> Kept:
    root = tmp_path / "folder"

    def damage():
        (found,) = root.glob("results/*.json")
        found.write_text("{")

    return Kept(lambda: BlobStore(FolderBlobs(root)), damage)


def in_objects(stack, tmp_path, nats_url) -> Kept:
    url = nats_url()

    def opened():
        blobs = NatsBlobs(url=url)
        stack.callback(blobs.close)
        return blobs

    def damage():
        blobs = opened()
        (name,) = blobs.names("results/")
        blobs.put(name, b"{")

    return Kept(lambda: BlobStore(opened()), damage)


def in_broker(stack, tmp_path, nats_url) -> Kept:
    fake = stack.enter_context(serving(FakeBroker()))
    folders = iter(range(9))

    def opened():
        # Each with a folder of its own: what is found was at the broker.
        return broker_store(fake.url, tmp_path / f"beside{next(folders)}")

    def damage():
        sha, version, success, _ = fake.verified[0]
        fake.verified[0] = (sha, version, success, {"cbs": {"pact": 1}})

    return Kept(opened, damage)


@pytest.fixture(params=[in_folder, in_objects, in_broker])
def kept(request, tmp_path):
    with ExitStack() as stack:
        yield request.param(stack, tmp_path, lambda: request.getfixturevalue("nats_url"))


# --- results -------------------------------------------------------------------------------------


def test_a_result_is_found_again_by_content_by_another(kept):
    kept.open().keep(result())

    other = kept.open()
    assert other.result(PACT.id, "c1") == result()
    assert other.result(PACT.id, "c2") is None
    assert other.result("another", "c1") is None


def test_what_did_not_hold_is_kept_as_that_with_its_reasons(kept):
    broken = result(
        outcomes=[InteractionOutcome(description="opens a book", held=False, why=["no number"])]
    )

    kept.open().keep(broken)

    found = kept.open().result(PACT.id, "c1")
    assert found == broken and not found.held


def test_a_result_is_replaced_not_doubled(kept):
    store = kept.open()
    store.keep(result(by="asha"))
    later = result(by="bina", provider_version="l2", at=AT + timedelta(seconds=1))
    store.keep(later)

    assert store.results() == [later]
    assert kept.open().results() == [later]


def test_results_of_other_content_stand_beside_each_other(kept):
    store = kept.open()
    store.keep(result())
    store.keep(result(provider_content="c2", provider_version="l2"))

    assert {each.provider_content for each in kept.open().results()} == {"c1", "c2"}


def test_an_empty_memory_has_nothing(kept):
    store = kept.open()

    assert store.result(PACT.id, "c1") is None
    assert (store.results(), store.verdicts(), store.deployments("test")) == ([], [], [])
    assert store.environments() == []


def test_a_damaged_entry_is_named(kept):
    kept.open().keep(result())
    kept.damage()

    with pytest.raises(StoreUnreachable, match=r"(results/|pact-version/).*damaged"):
        kept.open().results()


# --- deployments ---------------------------------------------------------------------------------


def there(store, environment="test"):
    return [(each.version, each.way) for each in store.deployments(environment)]


def test_a_deployment_takes_the_place_of_what_was_there(kept):
    store = kept.open()
    store.record(deployment("l1"))
    store.record(deployment("a1", application="accounts", minutes=1))
    store.record(deployment("l2", minutes=2))

    assert there(kept.open()) == [("a1", PutAs.DEPLOYED), ("l2", PutAs.DEPLOYED)]


def test_a_release_is_one_more_and_outlives_deployments(kept):
    store = kept.open()
    store.record(deployment("l1", PutAs.RELEASED))
    store.record(deployment("l2", PutAs.RELEASED, minutes=1))
    store.record(deployment("l1", minutes=2))
    store.record(deployment("l3", minutes=3))

    assert there(kept.open()) == [
        ("l1", PutAs.RELEASED),
        ("l2", PutAs.RELEASED),
        ("l3", PutAs.DEPLOYED),
    ]


def test_what_is_written_twice_is_there_once(kept):
    store = kept.open()
    for _ in range(2):
        store.record(deployment("l1"))
        store.record(deployment("l2", PutAs.RELEASED, minutes=1))

    assert there(kept.open()) == [("l1", PutAs.DEPLOYED), ("l2", PutAs.RELEASED)]


def test_what_is_undeployed_is_gone_in_every_way_and_nothing_else(kept):
    store = kept.open()
    store.record(deployment("l1"))
    store.record(deployment("l1", PutAs.RELEASED, minutes=1))
    store.record(deployment("l2", PutAs.RELEASED, minutes=2))
    store.record(deployment("l1", application="payments", minutes=3))

    store.record(deployment("l1", PutAs.UNDEPLOYED, minutes=4))

    assert there(kept.open()) == [("l2", PutAs.RELEASED), ("l1", PutAs.DEPLOYED)]


def test_without_a_version_all_of_an_application_is_undeployed(kept):
    store = kept.open()
    store.record(deployment("l1"))
    store.record(deployment("l2", PutAs.RELEASED, minutes=1))

    store.record(deployment("", PutAs.UNDEPLOYED, minutes=2))

    assert there(kept.open()) == []


def test_environments_are_apart(kept):
    store = kept.open()
    store.record(deployment("l1", to="test"))
    store.record(deployment("l2", to="production"))

    other = kept.open()
    assert other.environments() == ["production", "test"]
    assert there(other, "production") == [("l2", PutAs.DEPLOYED)]
    assert there(other, "elsewhere") == []


# --- verdicts ------------------------------------------------------------------------------------


def test_verdicts_are_kept_oldest_first_and_marked_in_place(kept):
    store = kept.open()
    store.keep_verdict(signed("2026-11-02T10:00:00Z", "two"))
    store.keep_verdict(signed("2026-11-02T09:00:00Z", "one"))
    audited = msgspec.structs.replace(signed("2026-11-02T09:00:00Z", "one"), audited=True)
    store.keep_verdict(audited)

    assert [(each.id, each.audited) for each in store.verdicts()] == [
        ("one", True),
        ("two", False),
    ]


# --- not there -----------------------------------------------------------------------------------


def unreachable_folder(port, tmp_path):
    (tmp_path / "file").write_text("")
    return BlobStore(FolderBlobs(tmp_path / "file" / "below"))


def unreachable_objects(port, tmp_path):
    return BlobStore(NatsBlobs(url=f"nats://127.0.0.1:{port}", seconds_max=SECONDS_MAX))


def unreachable_broker(port, tmp_path):
    return broker_store(f"http://127.0.0.1:{port}", tmp_path / "beside")


ASKED: list[Callable[[Store], object]] = [
    lambda store: store.result(PACT.id, "c1"),
    lambda store: store.keep(result()),
    lambda store: store.results(),
    lambda store: store.record(deployment("l1")),
    lambda store: store.deployments("test"),
    lambda store: store.environments(),
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("where", [unreachable_objects, unreachable_broker])
@pytest.mark.parametrize("kind", ["dead", "mute"])
def test_what_cannot_be_reached_says_so_within_seconds(kind, where, asked, tmp_path):
    with ExitStack() as stack:
        port = dead() if kind == "dead" else stack.enter_context(mute())
        store = where(port, tmp_path)
        if isinstance(store, BlobStore) and isinstance(store.blobs, NatsBlobs):
            stack.callback(store.blobs.close)
        started = time.monotonic()

        with pytest.raises(StoreUnreachable, match=rf"127\.0\.0\.1:{port}.*--store"):
            asked(store)

        assert time.monotonic() - started < 8 * SECONDS_MAX


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    store = unreachable_folder(0, tmp_path)

    with pytest.raises(StoreUnreachable, match="below"):
        store.keep(result())
    with pytest.raises(StoreUnreachable, match="below"):
        store.result(PACT.id, "c1")


def test_folders_are_for_the_owner_alone(tmp_path: Path):
    BlobStore(FolderBlobs(tmp_path / "folder")).keep(result())

    (file,) = (tmp_path / "folder").glob("results/*.json")
    assert file.stat().st_mode & 0o077 == 0
