"""Which memory the gate has: the operator's word, else a Pact Broker that is set, else a folder."""

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cbs.tools.release.gate.blobs import DEPLOYMENTS, Blobs, BlobStore, FolderBlobs
from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.environments import APPLICATIONS
from cbs.tools.release.gate.hal import BASE_URL, Hal
from cbs.tools.release.gate.history import Pact
from cbs.tools.release.gate.objects import NKEY_FILE, NatsBlobs
from cbs.tools.release.gate.pact_broker import PactBroker
from cbs.tools.release.gate.records import Deployment, Store, StoreUnreachable

ENVIRONMENT = "CBS_RELEASE_STORE"
SCHEMES = ("nats", "tls")


def store(
    named: str | None,
    own: Path,
    *,
    pacts: Callable[[str], Sequence[Pact]],
    environ: Mapping[str, str] = os.environ,
) -> Store:
    """`named` is a folder or a nats:// URL. Raises StoreUnreachable."""
    if named and "://" in named:
        return BlobStore(_objects(named, environ))
    if named or not environ.get(BASE_URL):
        return BlobStore(FolderBlobs(Path(named) if named else own))
    return brokered(broker_of(environ), own, pacts=pacts)


def brokered(
    broker: PactBroker, own: Path, *, pacts: Callable[[str], Sequence[Pact]]
) -> BrokerStore:
    # Not what was kept without a broker: it was told of none of that.
    beside = own / f"broker-{sha256(broker.hal.base.encode()).hexdigest()[:16]}"
    return BrokerStore(
        broker=broker, beside=FolderBlobs(beside), applications=APPLICATIONS, pacts=pacts
    )


def broker_of(environ: Mapping[str, str] = os.environ) -> PactBroker:
    """Raises StoreUnreachable, if none is named, too."""
    if not environ.get(BASE_URL):
        raise StoreUnreachable(f"{BASE_URL} is not set: it names the Pact Broker that is meant")
    return PactBroker(Hal.of(environ))


def carry_over(meanwhile: FolderBlobs, to: Store) -> None:
    """What was kept while a memory was away goes into it. Raises StoreUnreachable."""
    for name in meanwhile.names(""):
        body = meanwhile.get(name)
        assert body is not None, name
        if name.startswith(DEPLOYMENTS):
            to.record(msgspec.json.decode(body, type=Deployment))
        else:
            blobs_of(to).put(name, body)
        (meanwhile.root / name).unlink()


def blobs_of(store: Store) -> Blobs:
    """Where a memory keeps what has no place of its own in it."""
    if isinstance(store, BrokerStore):
        return store.beside
    assert isinstance(store, BlobStore), store
    return store.blobs


def _objects(url: str, environ: Mapping[str, str]) -> NatsBlobs:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise StoreUnreachable(
            f"--store is a folder or nats://HOST:PORT, no {parts.scheme}://; a Pact Broker is"
            f" named by {BASE_URL}"
        )
    if parts.username or parts.password:
        raise StoreUnreachable(
            f"--store must hold no password, which others can read: {NKEY_FILE} names a seed"
        )
    nkey_file = environ.get(NKEY_FILE)
    return NatsBlobs(url=url, nkey_file=Path(nkey_file) if nkey_file else None)


def own_folder(repository: str) -> Path:
    """Where this user keeps the memory of a repository, by the id of its first commit."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "cbs" / "release" / repository
