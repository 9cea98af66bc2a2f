"""A WAL segment is archived whole or not at all; PostgreSQL runs this file for each, by its path.

    segment.py keep POINTER SEGMENT NAME       copy it into the folder that the file POINTER names
    segment.py fetch NAME TARGET FOLDER …      bring it back from the first folder that has it

It imports nothing of ours: it starts once for every 16 MiB that the bank writes.
"""

import gzip
import os
import shutil
import sys
import zlib
from pathlib import Path

# More than this waiting for an archive that takes nothing would fill the bank's disk in the end.
WAITING_BYTES_MAX = 4 << 30
SUFFIX = ".gz"
DONE, NOT_NOW, NOT_HERE, DAMAGED = 0, 1, 1, 255  # above 125 PostgreSQL stops instead of going on
UNREADABLE = (OSError, EOFError, zlib.error)


def keep(pointer: Path, segment: Path, name: str) -> int:
    """Archive a segment; with no POINTER the bank has no backup, and nothing is archived."""
    if not pointer.exists():
        return DONE
    try:
        _copy_in(Path(pointer.read_text().strip()) / f"{name}{SUFFIX}", segment)
    except OSError as error:
        sys.stderr.write(f"{name} cannot be archived: {error}\n")
        waiting = sum(each.stat().st_size for each in segment.parent.glob("[0-9A-F]*"))
        if waiting <= WAITING_BYTES_MAX:
            return NOT_NOW
        pointer.unlink(missing_ok=True)
        sys.stderr.write("too much waits: archiving ends here, until the next ./cbs backup\n")
    return DONE


def _copy_in(target: Path, segment: Path) -> None:
    content = segment.read_bytes()
    if target.exists():
        with gzip.open(target) as old:
            if old.read() != content:
                raise FileExistsError(f"{target} holds something else")
        return  # PostgreSQL asks again after a crash
    part = target.with_name(f".{target.name}.part")
    # The time in it says until when the segment was written, however the file is copied about.
    written_at = segment.stat().st_mtime
    with part.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        with gzip.GzipFile("", "wb", 1, file, mtime=written_at) as packed:
            packed.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def fetch(name: str, target: Path, folders: list[Path]) -> int:
    """Folders hold segments packed, or, being a server's own `pg_wal`, as they are."""
    for folder in folders:
        packed, plain = folder / f"{name}{SUFFIX}", folder / name
        try:
            if packed.exists():
                with gzip.open(packed) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                return DONE
            if plain.exists():
                shutil.copyfile(plain, target)
                return DONE
        except UNREADABLE as error:
            sys.stderr.write(f"{name} in {folder} is damaged: {error}\n")
            return DAMAGED
    return NOT_HERE


def main(argv: list[str]) -> int:
    if argv[0] == "keep":
        return keep(Path(argv[1]), Path(argv[2]), argv[3])
    return fetch(argv[1], Path(argv[2]), [Path(folder) for folder in argv[3:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
