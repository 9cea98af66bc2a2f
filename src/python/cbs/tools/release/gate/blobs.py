"""The gate's memory as named blobs: in a folder by default, or wherever blobs can be kept."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from cbs.tools.local.folder import write_whole
from cbs.tools.release.gate.records import (
    Build,
    Deployment,
    Opinion,
    Result,
    Signed,
    StoreUnreachable,
    current,
)

T = TypeVar("T")
DEPLOYMENTS, BUILDS = "deployments/", "builds/"


class Blobs(Protocol):
    """Names are paths with slashes. Raises StoreUnreachable."""

    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, body: bytes) -> None: ...
    def names(self, prefix: str) -> list[str]:
        """All names that begin so, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class FolderBlobs:
    root: Path

    def get(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnreachable(str(error)) from None

    def put(self, name: str, body: bytes) -> None:
        place = self.root / name
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(place, body.decode())
            _settle(place.parent)
        except OSError as error:
            raise StoreUnreachable(str(error)) from None

    def names(self, prefix: str) -> list[str]:
        found = (each.relative_to(self.root) for each in self.root.rglob("*.json"))
        names = (str(each) for each in found if not each.name.startswith("."))
        return sorted(name for name in names if name.startswith(prefix))


@dataclass(frozen=True, slots=True)
class BlobStore:
    """Results by content, deployments by environment and time, builds and verdicts by time."""

    blobs: Blobs

    def result(self, pact: str, provider_content: str) -> Result | None:
        return self._read(_result_name(pact, provider_content), Result)

    def keep(self, result: Result) -> None:
        name = _result_name(result.pact, result.provider_content)
        self.blobs.put(name, msgspec.json.encode(result))

    def results(self) -> list[Result]:
        return self._all("results/", Result)

    def stands_for(self, result: Result, *, consumer_version: str, provider_version: str) -> None:
        """It is found by content, whatever the versions."""

    def record(self, deployment: Deployment) -> None:
        self._put(f"{DEPLOYMENTS}{deployment.environment}/", deployment)

    @property
    def vouches(self) -> bool:
        return False

    def recorded(self, environment: str) -> list[Deployment]:
        return self._all(f"{DEPLOYMENTS}{environment}/", Deployment)

    def deployments(self, environment: str) -> list[Deployment]:
        return current(self.recorded(environment))

    def environments(self) -> list[str]:
        return sorted({name.split("/")[1] for name in self.blobs.names(DEPLOYMENTS)})

    def note(self, build: Build) -> None:
        self._put(BUILDS, build)

    def builds(self) -> list[Build]:
        return self._all(BUILDS, Build)

    def keep_verdict(self, signed: Signed) -> None:
        at = msgspec.json.decode(signed.verdict, type=_When).at
        self.blobs.put(f"verdicts/{at}-{signed.id}.json", msgspec.json.encode(signed))

    def verdicts(self) -> list[Signed]:
        return self._all("verdicts/", Signed)

    def opinion(self, application: str, version: str, environment: str) -> Opinion | None:
        return None

    def _put(self, prefix: str, kept: Deployment | Build) -> None:
        """Under a name by which all of its kind are in the order of time."""
        body = msgspec.json.encode(kept)
        name = f"{kept.at:%Y%m%dT%H%M%S.%f}-{hashlib.sha256(body).hexdigest()[:16]}"
        self.blobs.put(f"{prefix}{name}.json", body)

    def _all(self, prefix: str, type_: type[T]) -> list[T]:
        read = (self._read(name, type_) for name in self.blobs.names(prefix))
        return [each for each in read if each is not None]

    def _read(self, name: str, type_: type[T]) -> T | None:
        body = self.blobs.get(name)
        try:
            return None if body is None else msgspec.json.decode(body, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnreachable(f"{name} is damaged ({error}): remove it") from None


def _settle(folder: Path) -> None:
    """A name in a folder outlives a power cut once the folder is written, too."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class _When(msgspec.Struct):
    at: str


def _result_name(pact: str, provider_content: str) -> str:
    return f"results/{pact}-{provider_content}.json"
