"""Who serves what, and where: a folder of files on one machine, Consul in a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec


class Instance(msgspec.Struct, kw_only=True, frozen=True):
    """`sha` is the commit that it was made of, as whoever started it says; empty if nobody did."""

    service: str
    instance: str
    host: str
    port: int
    version: str
    pid: int
    sha: str = ""


class Registry(Protocol):
    """Whoever is found here takes requests; it joins when it is ready and leaves first."""

    def join(self, instance: Instance) -> None: ...
    def leave(self, instance: Instance) -> None: ...
    def instances(self, service: str) -> list[Instance]: ...


@dataclass(frozen=True, slots=True)
class FolderRegistry:
    """`<folder>/<service>/<instance>.json`, written whole by a rename."""

    folder: Path

    def join(self, instance: Instance) -> None:
        place = self._file(instance)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(instance))
        os.replace(draft, place)

    def leave(self, instance: Instance) -> None:
        self._file(instance).unlink(missing_ok=True)

    def instances(self, service: str) -> list[Instance]:
        files = sorted((self.folder / service).glob("*.json"))
        return [msgspec.json.decode(file.read_bytes(), type=Instance) for file in files]

    def _file(self, instance: Instance) -> Path:
        return self.folder / instance.service / f"{instance.instance}.json"
