"""One bank is one folder: its data, secrets, logs and the ports it has; nothing lies elsewhere."""

import fcntl
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated

import msgspec

from cbs.bank import SERVICES
from cbs.platform.files import write_whole as write_whole
from cbs.tools.local import ports

USUAL_PORTS = {"edge": 8080, "edge-admin": 9901, "postgres": 5432, "nats": 4222} | {
    service: 8101 + n for n, service in enumerate(SERVICES)
}
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
MARK = "bank.json"
LOST_MARK = (
    "next: put it back from a copy, or bring the bank back from a backup into another folder"
    " (./cbs restore)"
)
LOCK_CHARACTERS_SHOWN = 40
ENVIRONMENT = "CBS_DATA"


class NotABank(RuntimeError):
    """The folder holds something else; it is not touched."""


class InUse(RuntimeError):
    """Another supervisor has this folder."""


class DamagedFile(OSError):
    """A file of the bank is not as it was written; the message names it and says what to do."""


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """CBS_DATA, or `.cbs` in the clone that this file lies in."""
    return Path(environ.get(ENVIRONMENT) or Path(__file__).parents[5] / ".cbs")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """What can be made again, for all banks of a user. May be missing, and need not be writable."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbs"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where everything of one bank lies. `root` is absolute."""

    root: Path
    _claims: dict[str, ports.Claim] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path | None) -> "Folder":
        return cls((path or default_folder()).expanduser().resolve())

    def __getitem__(self, name: str) -> Path:
        """The path of a sub-folder, made if it is missing."""
        path = self.root / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def option(self) -> str:
        """What names it to another `cbs`: nothing where it is the usual one."""
        usual = self.root == Folder.at(None).root
        return "" if usual else f" --data {shlex.quote(str(self.root))}"

    @property
    def state(self) -> Path:
        return self.root / "run" / "state.json"

    @property
    def jwks(self) -> Path:
        return self.root / "jwks.json"

    @property
    def archive(self) -> Path:
        """Names the folder into which PostgreSQL archives its WAL; missing before any backup."""
        return self.root / "archive"

    def log(self, name: str) -> Path:
        return self["logs"] / f"{name}.log"

    def secret(self, name: str) -> Path:
        return self["secrets"] / name

    def token(self, name: str) -> Path:
        return self["tokens"] / name

    @property
    def is_bank(self) -> bool:
        return (self.root / MARK).exists()

    @property
    def id(self) -> str:
        """Tells this bank from every other, also on a server that they share; or DamagedFile."""
        mark = self.root / MARK
        try:
            return str(uuid.UUID(json.loads(mark.read_bytes())["id"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DamagedFile(f"{mark} is damaged\n{LOST_MARK}") from None

    def found(self, id: str = "") -> None:
        """Make an empty or missing folder a bank's; raises NotABank if it holds something else, and
        DamagedFile if it holds a bank that has lost its mark.

        `id` is that of a bank which is restored; a new one gets its own.
        """
        mark = self.root / MARK
        if self.is_bank:
            assert self.id
            return
        if not str(self.root).isprintable():
            name = ascii(str(self.root))
            raise NotABank(
                f"{name} is no name for a bank's folder\nnext: choose one that can be read"
            )
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = {entry.name for entry in self.root.iterdir() if MARK not in entry.name}
        if others & {"secrets", "postgres"}:
            raise DamagedFile(f"{mark} is missing\n{LOST_MARK}")
        if others:
            raise NotABank(
                f"{self.root} is not empty and not a bank's data folder\nnext: name another --data"
            )
        self.root.chmod(0o700)
        draft = mark.with_name(f".{MARK}.{os.getpid()}.draft")
        write_whole(draft, json.dumps({"id": id or str(uuid.uuid4()), "layout": 1}) + "\n")
        with suppress(FileExistsError):  # another did it at this moment: it is one bank
            os.link(draft, mark)
        draft.unlink()

    def lock(self) -> IO[str]:
        """Held as long as the file stays open: one supervisor a folder. Raises InUse."""
        held = open(self["run"] / "lock", "a+", errors="replace")  # noqa: SIM115
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            who = held.read(LOCK_CHARACTERS_SHOWN).strip()
            held.close()
            raise InUse(
                f"another process ({who or 'unknown'}) is at work on the bank in {self.root}, which"
                f" it has locked by {held.name}\nnext: see ./cbs status{self.option}"
            ) from None
        held.truncate(0)
        held.write(f"pid {os.getpid()}\n")
        held.flush()
        return held

    def claim_ports(self, *, without: tuple[str, ...] = ()) -> dict[str, int]:
        """A port for each part: the last one it had, else its usual one, else the next one free.

        The file only remembers them: one that is damaged is made anew.
        """
        memory = self.root / "ports.json"
        last: dict[str, int] = {}
        with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            last = msgspec.json.decode(memory.read_bytes(), type=dict[str, Port])
        for name, usual in USUAL_PORTS.items():
            if name not in without:
                wanted = (last[name], usual) if name in last else (usual,)
                self._claims[name] = ports.choose(*wanted)
        chosen = {name: claim.port for name, claim in self._claims.items()}
        write_whole(memory, json.dumps(last | chosen, indent=1) + "\n")
        return chosen

    def release_ports(self) -> None:
        for claim in self._claims.values():
            claim.release()
        self._claims.clear()

    def erase(self) -> None:
        """Remove a bank with all its data; raises NotABank and InUse."""
        if not self.is_bank:
            raise NotABank(f"{self.root} is not a bank's data folder")
        with self.lock():
            for path in self.root.iterdir():
                if path.name != MARK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            # The mark goes last, so that a half-erased folder can be erased again.
            shutil.rmtree(self.root)
