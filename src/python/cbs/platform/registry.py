"""Who serves what, and where: a folder of files on one machine, Consul in a cluster."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from cbs.platform.child import started

POLL_SECONDS = 0.25


class Instance(msgspec.Struct, kw_only=True, frozen=True):
    """`sha` is the commit that it was made of, as whoever started it says; empty if nobody did."""

    service: str
    instance: str
    host: str
    port: int
    version: str = ""
    pid: int = 0
    sha: str = ""
    canary: bool = False


class Registry(Protocol):
    """Whoever is found here takes requests. Following begins with what is so now; each list after
    that is news, and while nobody knows, there is none: the last one holds."""

    def follow(self, service: str) -> AsyncIterator[list[Instance]]:
        """Those of a service that are ready."""
        ...

    def follow_value(self, key: str) -> AsyncIterator[str | None]:
        """What an operator set, None where nothing is set."""
        ...


@dataclass(frozen=True, slots=True)
class FolderRegistry:
    """`<folder>/<service>/<instance>.json`, written whole by a rename.

    A service joins when it is ready and leaves first; one that was killed could not sign off, and
    is signed off by whoever looks.
    """

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
        """Who joined and did not leave."""
        files = sorted((self.folder / service).glob("*.json"))
        return [msgspec.json.decode(file.read_bytes(), type=Instance) for file in files]

    def living(self, service: str) -> list[Instance]:
        """Of these, who still runs; the others are signed off."""
        return list(self._living(service))

    async def follow(self, service: str) -> AsyncIterator[list[Instance]]:
        told = None
        while True:
            found = self.living(service)
            if found != told:
                yield found
                told = found
            await asyncio.sleep(POLL_SECONDS)

    async def follow_value(self, key: str) -> AsyncIterator[str | None]:
        """A folder holds no values."""
        yield None

    def _living(self, service: str) -> Iterator[Instance]:
        for file in sorted((self.folder / service).glob("*.json")):
            try:
                found = msgspec.json.decode(file.read_bytes(), type=Instance)
            except (OSError, msgspec.DecodeError):
                continue  # removed at this moment: the next look will tell
            if started(found.pid):
                yield found
            else:
                file.unlink(missing_ok=True)

    def _file(self, instance: Instance) -> Path:
        return self.folder / instance.service / f"{instance.instance}.json"
