"""A repository is a folder of one bank's backups and of the WAL that goes on from them.

A bank archives into a WAL folder of its own, begun with its first backup and begun anew by one
that was restored, so that two histories of a bank never meet under one name.
"""

import gzip
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cbs.tools.local import wal_segment
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.postgres import program
from cbs.tools.local.process import output_of
from cbs.tools.ops.backup.manifest import (
    DATA,
    FILE,
    Damaged,
    Manifest,
    NotABackup,
    read,
    segment_after,
)

MARK = "shelf.json"
WAL = "wal-"
UNFINISHED = ".part"
SEGMENT = re.compile(r"[0-9A-F]{24}")
GZIP_TIME = slice(4, 8)


class OutOfReach(RuntimeError):
    """No backup here reaches the moment that is asked for."""


class WrongRepository(RuntimeError):
    """The folder holds something else, or another bank's backups."""


@dataclass(frozen=True, slots=True)
class Backup:
    path: Path
    manifest: Manifest

    @property
    def data(self) -> Path:
        return self.path / DATA

    @property
    def wal(self) -> Path:
        return self.path.parent / self.manifest.wal

    def check(self, until: datetime | None) -> None:
        """Raises Damaged unless every byte needed to reach `until` (None: the end) is right."""
        try:
            output_of([program("pg_verifybackup"), "--quiet", str(self.data)])
        except OSError as error:
            raise Damaged(f"{self.path} is damaged: use another\n{error}") from None
        self._check_wal(until)

    def _check_wal(self, until: datetime | None) -> None:
        """PostgreSQL takes a missing segment for the end, and would be silent about the rest."""
        if not self.wal.is_dir():
            return  # the backup was carried off alone: it has what it needs for its own moment
        due = segment_after(self.manifest.last_segment)
        archived = sorted(
            path.name[:24]
            for path in self.wal.glob(f"*{wal_segment.SUFFIX}")
            if SEGMENT.fullmatch(path.name.removesuffix(wal_segment.SUFFIX))
        )
        # The first of them was archived before the backup was finished.
        for name in [name for name in archived if name >= due] or [""]:
            if name != due:
                raise Damaged(
                    f"{self.wal} lacks {due}: what was written after it cannot be restored from"
                    f" {self.manifest.name}; name an earlier moment with --at, or a later backup"
                )
            written_at = _checked(self.wal / f"{name}{wal_segment.SUFFIX}")
            if until is not None and written_at > until.timestamp():
                return
            due = segment_after(name)


def _checked(packed: Path) -> int:
    """When it was written, in seconds since 1970; raises Damaged."""
    try:
        content = packed.read_bytes()
        gzip.decompress(content)
    except wal_segment.UNREADABLE as error:
        raise Damaged(
            f"{packed} is damaged ({error}): name an earlier moment with --at, or a later backup"
        ) from None
    return int.from_bytes(content[GZIP_TIME], "little")


@dataclass(frozen=True, slots=True)
class BackupRepository:
    root: Path

    @classmethod
    def of(cls, root: Path, bank: str) -> "BackupRepository":
        """Made if it is missing; raises AnothersShelf."""
        mark = root / MARK
        if not mark.exists():
            if root.exists() and any(root.iterdir()):
                raise WrongRepository(f"{root} is not empty and holds no backups: name another")
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
            write_whole(mark, msgspec.json.encode({"bank": bank}).decode() + "\n")
        if msgspec.json.decode(mark.read_bytes()) != {"bank": bank}:
            raise WrongRepository(f"{root} holds the backups of another bank: name another folder")
        return cls(root)

    def backups(self) -> list[Backup]:
        """Those that are finished, oldest first; a damaged one raises Damaged."""
        paths = sorted(path.parent for path in self.root.glob(f"*/{FILE}"))
        return [Backup(path, read(path)) for path in paths if path.suffix != UNFINISHED]

    def archive_of(self, folder: Folder) -> Path:
        """Where the bank archives from now on; begun anew unless it already does so here."""
        if folder.archive.exists():
            now = Path(folder.archive.read_text().strip())
            if now.parent == self.root and now.is_dir():
                return now
        name = f"{WAL}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        archive = self.root / name
        archive.mkdir(mode=0o700)
        write_whole(folder.archive, f"{archive}\n")
        return archive

    def prune(self, kept: int, archive: Path) -> list[str]:
        """Remove all but the newest `kept` backups, and the WAL behind them; returns their names.

        `archive` is in use and stays.
        """
        backups = self.backups()
        old, staying = backups[:-kept], backups[-kept:]
        for path in (*(backup.path for backup in old), *self.root.glob(f"*{UNFINISHED}")):
            # The manifest goes first, so that half a backup is never taken for one.
            (path / FILE).unlink(missing_ok=True)
            shutil.rmtree(path)
        for wal in self.root.glob(f"{WAL}*"):
            needed = [each.manifest.first_segment for each in staying if each.wal == wal]
            for path in wal.glob("[0-9A-F]*") if needed else ():
                if path.name[:24] < min(needed):
                    path.unlink()
            if not needed and wal != archive:
                shutil.rmtree(wal)
        return [backup.manifest.name for backup in old]


def find_backup(path: Path, at: datetime | None) -> Backup:
    """The backup at a path, or, of a repository, the newest from which `at` can be reached.

    Raises NotABackup, Damaged and OutOfReach.
    """
    if not (path / MARK).exists():
        backup = Backup(path, read(path))
        backups = [backup]
    else:
        backups = BackupRepository(path).backups()
    if not backups:
        raise NotABackup(f"{path} holds no finished backup: ./cbs backup makes one")
    reaching = [each for each in backups if at is None or each.manifest.ended_at <= at]
    if not reaching:
        first = backups[0].manifest
        raise OutOfReach(
            f"{first.name} was finished only at {first.ended_at.isoformat()}: an earlier moment"
            " needs an older backup"
        )
    return reaching[-1]
