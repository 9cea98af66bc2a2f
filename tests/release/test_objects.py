"""What is particular to a memory in a NATS object store."""

import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cbs.platform.declaration import Permissions
from cbs.tools.local import nats_server
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import running
from cbs.tools.local.secrets import new_nkey, public_nkey
from cbs.tools.release.gate import objects, stores
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.hal import BASE_URL
from cbs.tools.release.gate.objects import NKEY_FILE, NatsBlobs
from cbs.tools.release.gate.records import StoreUnreachable

SECONDS_MAX = 3.0


@contextmanager
def opened(url, **settings):
    blobs = NatsBlobs(url=url, seconds_max=SECONDS_MAX, **settings)
    try:
        yield blobs
    finally:
        blobs.close()


def test_names_have_slashes_and_colons_and_are_listed_by_prefix(nats_url):
    names = [
        "deployments/test/a.json",
        "deployments/test-2/a.json",
        "old/deployments/test/a.json",
        "verdicts/2026:11.json",
    ]
    with opened(nats_url) as blobs:
        assert blobs.names("") == []
        for name in reversed(names):
            blobs.put(name, name.encode())

        assert blobs.names("deployments/test/") == ["deployments/test/a.json"]
        assert blobs.names("") == sorted(names)
        assert blobs.get("verdicts/2026:11.json") == b"verdicts/2026:11.json"
        assert blobs.get("verdicts/") is None


def test_what_is_written_again_is_replaced_and_takes_no_more_room(nats_url):
    body = b"x" * 500_000  # of several chunks
    with opened(nats_url) as blobs:
        for n in range(3):
            blobs.put("results/a.json", body + b"%d" % n)

        assert blobs.get("results/a.json") == body + b"2"
        assert blobs.names("") == ["results/a.json"]
        assert size_of(blobs) < 600_000


def size_of(blobs):
    async def ask(bucket):
        return (await bucket.status()).size

    return blobs._ask(ask)


def test_an_empty_blob_is_there(nats_url):
    with opened(nats_url) as blobs:
        blobs.put("results/a.json", b"")

        assert blobs.get("results/a.json") == b""


def test_a_body_that_the_server_lost_is_not_waited_for(nats_url):
    with opened(nats_url) as blobs:
        blobs.put("results/a.json", b"{}")
        lose_bodies(blobs)
        started = time.monotonic()

        with pytest.raises(StoreUnreachable, match="no answer in 3 s"):
            blobs.get("results/a.json")

        assert time.monotonic() - started < 4 * SECONDS_MAX


def lose_bodies(blobs):
    async def ask(bucket):
        await bucket._js.purge_stream(f"OBJ_{objects.BUCKET}", subject=f"$O.{objects.BUCKET}.C.>")

    blobs._ask(ask)


def test_a_connection_that_was_idle_is_opened_anew(nats_url, monkeypatch):
    with opened(nats_url) as blobs:
        blobs.put("results/a.json", b"{}")
        first = blobs._client
        blobs.names("")
        assert blobs._client is first

        monkeypatch.setattr(objects, "IDLE_SECONDS_MAX", 0)
        assert blobs.get("results/a.json") == b"{}"
        assert blobs._client is not first and first.is_closed


@contextmanager
def claimed():
    claim = choose(14822)
    try:
        yield claim
    finally:
        claim.release()


def at(claim):
    return f"nats://127.0.0.1:{claim.port}"


@contextmanager
def server(folder, users, claim):
    conf = folder / "nats.conf"
    conf.write_text(nats_server.bank_conf(port=claim.port, store=folder / "store", users=users))
    with running(
        nats_server.command(conf), log=folder / "log", is_ready=lambda: is_open(claim.port)
    ):
        yield at(claim)


def seed_file(folder, name, seed):
    file = folder / name
    file.write_text(seed)
    return file


def test_a_user_is_known_by_the_seed_in_a_file(tmp_path):
    seeds = {name: new_nkey() for name in ("gate", "guest", "stranger")}
    may = {
        "gate": Permissions(publish=(), subscribe=()),
        "guest": Permissions(publish=("guests.>",), subscribe=("_INBOX.>",)),
    }
    users = {name: (public_nkey(seeds[name]), permissions) for name, permissions in may.items()}
    files = {name: seed_file(tmp_path, name, seed) for name, seed in seeds.items()}
    files["broken"] = seed_file(tmp_path, "broken", "no seed")
    files["missing"] = tmp_path / "missing"
    with claimed() as claim, server(tmp_path, users, claim) as url:
        with opened(url, nkey_file=files["gate"]) as blobs:
            blobs.put("results/a.json", b"{}")
            assert blobs.get("results/a.json") == b"{}"
        for name in ("guest", "stranger", "broken", "missing", None):
            file = files[name] if name else None
            started = time.monotonic()
            with (
                opened(url, nkey_file=file) as blobs,
                pytest.raises(StoreUnreachable, match=NKEY_FILE) as said,
            ):
                blobs.put("results/b.json", b"{}")
            assert time.monotonic() - started < 4 * SECONDS_MAX
            assert not any(seed in str(said.value) for seed in seeds.values())


def test_a_server_that_went_away_is_told_and_one_that_is_back_is_used(tmp_path):
    users = {"gate": (public_nkey(seed := new_nkey()), Permissions(publish=(), subscribe=()))}
    file = seed_file(tmp_path, "gate", seed)
    with claimed() as claim, opened(at(claim), nkey_file=file) as blobs:
        with server(tmp_path, users, claim):
            blobs.put("results/a.json", b"{}")
        with pytest.raises(StoreUnreachable, match="--store"):
            blobs.get("results/a.json")
        with server(tmp_path, users, claim):
            assert blobs.get("results/a.json") == b"{}"


def test_a_password_in_a_url_is_not_told():
    with (
        opened("nats://asha:s3cret@127.0.0.1:1") as blobs,
        pytest.raises(StoreUnreachable, match="127") as said,
    ):
        blobs.get("a")

    assert "s3cret" not in str(said.value) and "asha" not in str(said.value)


# --- which memory it is --------------------------------------------------------------------------


def chosen(named, folder, **environ):
    return stores.store(named, folder, pacts=lambda _: [], environ=environ)


def test_what_is_named_wins_then_the_broker_then_the_own_folder(tmp_path):
    broker_url = {BASE_URL: "http://broker:9292"}

    own = chosen(None, tmp_path)
    folder = chosen("elsewhere", tmp_path, **broker_url)
    shared = chosen("nats://bus:4222", tmp_path, **broker_url, **{NKEY_FILE: "/seed"})
    brokered = chosen(None, tmp_path, **broker_url)

    assert own == BlobStore(FolderBlobs(tmp_path))
    assert folder == BlobStore(FolderBlobs(Path("elsewhere")))
    assert shared == BlobStore(NatsBlobs(url="nats://bus:4222", nkey_file=Path("/seed")))
    assert isinstance(brokered, BrokerStore) and isinstance(brokered.beside, FolderBlobs)
    assert tmp_path in brokered.beside.root.parents


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nats://asha:s3cret@bus:4222", NKEY_FILE),
        ("https://broker", BASE_URL),
        ("file:///tmp/x", "folder"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(named, said, tmp_path):
    with pytest.raises(StoreUnreachable, match=said) as refused:
        chosen(named, tmp_path)

    assert "s3cret" not in str(refused.value)
