"""A disk of its own for the data of a server: in memory, and full whenever we say so.

Its size is set to what is in use, so that the next block is one too many; nothing has to be
filled up, and other programs on this machine keep their disk.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cbs.tools.local.waiting import wait_until

SERVERS = ("postgres", "nats")
SIZE = "8g"  # never reached: what a bank needs is taken from memory, and no more
FILL_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Mounted over an empty folder. Needs root, and a container that may mount."""

    path: Path

    @property
    def is_mounted(self) -> bool:
        return os.path.ismount(self.path)

    def mount(self) -> bool:
        """False where that is not allowed."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return False
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"size={SIZE},mode=0700"
        return _done("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path))

    def fill(self) -> None:
        """Leave no room for another block; raises OSError."""
        # Not at once where more is written meanwhile.
        if not wait_until(lambda: self._resize(str(self._used)), seconds=FILL_SECONDS_MAX):
            raise OSError(f"{self.path} cannot be made full")

    def empty(self) -> None:
        """Give the room back; raises OSError."""
        if not self._resize(SIZE):
            raise OSError(f"{self.path} cannot be given room again")

    def unmount(self, *, keep: bool) -> None:
        """Nothing may use it any more; `keep` what is on it in the folder below."""
        if not self.is_mounted:
            return
        kept = self.path.with_name(f"{self.path.name}-kept")
        if keep:
            shutil.copytree(self.path, kept, symlinks=True)
        if not _done("umount", str(self.path)):
            _done("umount", "--lazy", str(self.path))
        if keep:
            self.path.rmdir()
            kept.rename(self.path)

    @property
    def _used(self) -> int:
        there = os.statvfs(self.path)
        return (there.f_blocks - there.f_bfree) * there.f_frsize

    def _resize(self, size: str) -> bool:
        return _done("mount", "-o", f"remount,size={size}", str(self.path))


def disks_of(bank: Path) -> dict[str, Disk]:
    return {server: Disk(bank / server) for server in SERVERS}


def _done(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
