"""Which memory the gate has: a folder of this user's unless the operator names another."""

import os
from pathlib import Path

from cbs.release.gate.blobs import BlobStore, FolderBlobs
from cbs.release.gate.records import Store

ENVIRONMENT = "CBS_RELEASE_STORE"


def store(named: str | None, own: Path) -> Store:
    """Of the place that was named, a folder or a nats:// URL. Raises StoreUnreachable."""
    return BlobStore(FolderBlobs(Path(named) if named else own))


def own_folder(repository: str) -> Path:
    """Where this user keeps the memory of a repository, by the id of its first commit."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "cbs" / "release" / repository
