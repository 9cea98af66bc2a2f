"""Damages the files of a bank one by one, and tells how far `cbs up` comes with each.

    python -m tests.local.damage ROOT KIND      prints as JSON: file -> what up said, or ""

Nothing is started: up goes as far as it goes by itself, and then back.
"""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import typer

from cbs.tools.local import commands
from cbs.tools.local.command_line import NO

# Of a server's own, which it answers for itself: another test damages those.
NOT_OURS = ("postgres", "nats/store")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00\xc3(" * 9)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": _garbage,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "removed": Path.unlink,
    "unreadable": lambda path: path.chmod(0),
    "folder": _folder,
}


def files(root: Path) -> list[str]:
    """All that up makes, but what servers keep for themselves."""
    found = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    return [str(path) for path in found if not str(path).startswith(NOT_OURS)]


@contextlib.contextmanager
def put_back(path: Path) -> Iterator[None]:
    kept = path.read_bytes()
    yield
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_bytes(kept)
    path.chmod(0o600)


class CameSoFar(Exception):
    """Up would now start the servers."""


class Nothing:
    """Instead of a bank."""

    def __init__(self, **_: object) -> None:
        raise CameSoFar


def said_by_up(root: Path) -> str:
    """Nothing if it would start; whatever else goes wrong is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            commands.up(root, False, None)
        except CameSoFar:
            return ""
        except typer.Exit as ended:
            code = ended.exit_code
    return said.getvalue() if code == NO else f"exit {code}"


def main(root: Path, kind: str) -> None:
    found = {}
    with patch.object(commands, "LocalBank", Nothing):
        for name in files(root):
            with put_back(root / name):
                DAMAGE[kind](root / name)
                found[name] = said_by_up(root)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
