"""A package is of a commit if it says what the commit says, file by file; else it does not go out.

No label is trusted that somebody could have put on other bytes, and none is needed: a PEX has its
sources in it, and git knows what each file of a commit is.
"""

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.layout import LOCK, SOURCES

BUILD_SECONDS_MAX = 900
SHOWN_MAX, LOG_CHARACTERS_SHOWN = 3, 600
PACKAGE = "cbs/"
PINNED = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


class NotOfCommit(Exception):
    """A package is not what its commit is made of; the message says in what."""


class NotBuilt(Exception):
    """A commit could not be packaged; the message says why."""


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check(pex: Path, history: GitHistory, sha: str, application: str) -> None:
    """Raises NotOfCommit unless the PEX runs this application, each of its own files is the
    commit's, none of the application's is missing, and its packages are those of the lock file."""
    try:
        with zipfile.ZipFile(pex) as archive:
            wrong = list(_differences(archive, history, sha, application))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise NotOfCommit(f"{pex} is no PEX: {error}") from None
    if wrong:
        more = f" and {len(wrong) - SHOWN_MAX} more" if len(wrong) > SHOWN_MAX else ""
        told = "; ".join(wrong[:SHOWN_MAX])
        raise NotOfCommit(f"{pex} is not made of {application}@{sha[:SHORT]}: {told}{more}")


def _differences(
    archive: zipfile.ZipFile, history: GitHistory, sha: str, application: str
) -> Iterator[str]:
    info = json.loads(archive.read("PEX-INFO"))
    runs = f"cbs.{application}.main:main"
    if info["entry_point"] != runs:
        yield f"it runs {info['entry_point']}, not {runs}"
    known = history.blobs(sha, f"{SOURCES}/")
    found = set()
    for name in archive.namelist():
        if name.startswith(PACKAGE) and not name.endswith("/"):
            path = f"{SOURCES.removesuffix('/cbs')}/{name}"
            found.add(path)
            if path not in known:
                yield f"it has {name}, which the commit lacks"
            elif _blob_id(archive.read(name)) != known[path]:
                yield f"its {name} is another"
    own = f"{SOURCES}/{application}/"
    for path in sorted(known.keys() - found):
        if path.startswith(own) and path.endswith(".py"):
            yield f"it lacks {path.removeprefix(SOURCES.removesuffix('cbs'))}"
    pins = {_name(name): version for name, version in PINNED.findall(_lock(history, sha))}
    for wheel in sorted(info["distributions"]):
        name, version, *_ = wheel.split("-")
        if (pinned := pins.get(_name(name))) != version:
            yield f"its {name} is {version}, and the lock file wants {pinned or 'none'}"


def _lock(history: GitHistory, sha: str) -> str:
    return (history.file(sha, LOCK) or b"").decode()


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _blob_id(body: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def built(
    history: GitHistory, sha: str, application: str, folder: Path, *, say: Callable[[str], None]
) -> Path:
    """Made of a clean checkout of the commit, whatever the work tree has, and kept in a folder.

    Raises NotBuilt, and NotOfCommit of what was kept and is not the commit's any more.
    """
    kept = folder / f"{application}-{sha}.pex"
    if not kept.exists():
        say(f"packaging {application}@{sha[:SHORT]} from a clean checkout")
        with history.tree(sha) as tree:
            _packaged(tree, application, kept)
    check(kept, history, sha, application)
    return kept


def _packaged(tree: Path, application: str, out: Path) -> None:
    if not (tree / "pants").exists():
        raise NotBuilt(f"{tree.name} has no ./pants to build it with: name a PEX of it with --pex")
    argv = ["./pants", "--no-pantsd", "--no-dynamic-ui", "package", f"{SOURCES}/{application}:pex"]
    try:
        done = subprocess.run(
            argv, cwd=tree, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{' '.join(argv)} took more than {BUILD_SECONDS_MAX} s") from None
    if done.returncode != 0:
        raise NotBuilt(f"{' '.join(argv)} failed: {done.stderr[-LOG_CHARACTERS_SHOWN:]}")
    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.copyfile(tree / "dist" / "cbs" / f"{application}.pex", part)
    part.chmod(0o700)
    part.rename(out)
