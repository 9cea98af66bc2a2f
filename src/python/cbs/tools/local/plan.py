"""What the user chose: from source or from PEXes, with our servers or with their own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cbs.bank import SERVICES
from cbs.tools.local import pex_cache
from cbs.tools.local.folder import cache_folder
from cbs.tools.local.process import CannotStart

SOURCE = Path(__file__).parents[3]
PEX_PYTHON = (3, 11)
PASSED_ON = {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME"}
PASSED_ON_PREFIXES = ("OTEL_", "CBS_", "PYTHONPYCACHE", "PYTHONWARNINGS")
DIRTY, GIT_SECONDS_MAX = "-dirty", 20
KEPT_BACK = {"CBS_POSTGRES_URL", "CBS_NATS_URL", "CBS_DATA"}


def version_of(source: Path) -> str:
    """The commit of a source folder in a clone, and whether it was changed since; "" elsewhere."""
    words = ("describe", "--always", "--dirty", "--exclude=*", "--abbrev=40")
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *words],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS_MAX,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """External servers are named by an administrator's URL; `dist` holds the PEXes, if any.

    `links` are ports on loopback through which one part reaches another instead of directly, under
    names such as `ledger postgres` and `edge ledger`: tests put something between the two.
    `sha` is the commit that runs, with DIRTY behind it if the sources differ from it.
    """

    postgres_url: str = ""
    nats_url: str = ""
    dist: Path | None = None
    links: Mapping[str, int] = field(default_factory=dict)
    sha: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str], dist: Path | None) -> "StartPlan":
        """Raises CannotStart when a PEX is missing."""
        if dist is not None:
            missing = [s for s in SERVICES if not (dist / "cbs" / f"{s}.pex").is_file()]
            if missing:
                raise CannotStart(
                    f"{dist} has no cbs/{missing[0]}.pex: make it with ./pants package ::"
                )
        return cls(
            postgres_url=environ.get("CBS_POSTGRES_URL", ""),
            nats_url=environ.get("CBS_NATS_URL", ""),
            dist=dist.resolve() if dist else None,
            # Of what a PEX was made its file does not tell: whoever starts it may.
            sha=environ.get("CBS_SHA", "") or ("" if dist else version_of(SOURCE)),
        )

    @property
    def external(self) -> dict[str, str]:
        """The servers of the user's own: what each is, and its URL."""
        named = {"postgres": self.postgres_url, "nats": self.nats_url}
        return {name: url for name, url in named.items() if url}

    def argv(self, service: str, verb: str) -> list[str]:
        if self.dist is None:
            return [sys.executable, "-P", "-m", f"cbs.{service}.main", verb]
        pex = [str(self.dist / "cbs" / f"{service}.pex"), verb]
        # A PEX finds a Python of its version by itself, unless there is none on PATH but ours.
        return [sys.executable, *pex] if sys.version_info[:2] == PEX_PYTHON else pex

    def fingerprint(self, service: str) -> str:
        """Changes whenever a service's program does, and with it perhaps its migrations."""
        if self.dist is not None:
            files = [self.dist / "cbs" / f"{service}.pex"]
        else:
            folders = (SOURCE / "cbs" / part for part in (service, "platform", "kernel"))
            files = sorted(file for folder in folders for file in folder.rglob("*.py"))
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(f"{file}\0".encode() + file.read_bytes()).digest())
        return digest.hexdigest()

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What a child gets of the user's environment: nothing that could hold a secret."""
        given = {
            name: value
            for name, value in environ.items()
            if name not in KEPT_BACK and (name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES))
        }
        given["CBS_SHA"] = self.sha
        if self.dist is None:
            return given | {"PYTHONPATH": str(SOURCE)}
        root = cache_folder(environ) / "pex"
        with suppress(OSError):  # a PEX that cannot write there unpacks into a folder of its own
            pex_cache.make(root)
        return given | {"PEX_ROOT": str(root)}
