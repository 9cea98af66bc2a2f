"""A PEX of a small repository's commit, as small as one can be."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.layout import SOURCES

ROOT = SOURCES.removesuffix("cbs")
WHEEL = "msgspec-1-py3-none-any.whl"


def pex(
    file: Path,
    history: GitHistory,
    sha: str,
    application: str,
    *,
    files: Mapping[str, str | None] | None = None,
    wheel: str = WHEEL,
    entry_point: str = "",
) -> Path:
    """`files` are those that it has otherwise than the commit, None for one that it lacks."""
    own = {
        path.removeprefix(ROOT): (history.file(sha, path) or b"").decode()
        for path in history.files(sha, f"{SOURCES}/{application}")
        if path.endswith(".py")
    }
    info = {
        "entry_point": entry_point or f"cbs.{application}.main:main",
        "distributions": {wheel: "0" * 64},
    }
    with zipfile.ZipFile(file, "w") as archive:
        beside = {"PEX-INFO": json.dumps(info), "__main__.py": ""}
        for name, text in {**beside, **own, **(files or {})}.items():
            if text is not None:
                # The same bytes at any time.
                archive.writestr(zipfile.ZipInfo(name), text)
    return file
