"""What a crash leaves tells its bank: by its environment, its allocation, or where it lies."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cbs.tools.local.folder import Folder
from cbs.tools.local.parts import MARK
from cbs.tools.local.process import left_behind, started
from cbs.tools.local.waiting import wait_until

ENDED_SECONDS_MAX, DOCKER_SECONDS_MAX = 30, 60
# Where Nomad's driver asks, whatever the user's own command does.
DOCKER = ("docker", "--host", "unix:///var/run/docker.sock")
ALLOCATION = "com.hashicorp.nomad.alloc_id"


def sweep(folder: Folder) -> None:
    """End what a crash left behind, and unmount what it left mounted."""
    orphans = left_behind(f"{MARK}={folder.root}")
    for pid in orphans:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(started, orphans)), seconds=ENDED_SECONDS_MAX)
    if containers := list(_containers(folder)):
        _docker("rm", "--force", *containers)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((m for m in mounts if m.startswith(f"{folder.root}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


def _containers(folder: Folder) -> Iterator[str]:
    """They are Docker's children, and have of the agents' environment nothing."""
    ours = {place.name for place in folder.root.glob("nomad*/data/alloc/*")}
    if not ours:
        return
    row = f'{{{{.ID}}}} {{{{.Label "{ALLOCATION}"}}}}'
    said = _docker("ps", "--all", "--filter", f"label={ALLOCATION}", "--format", row)
    for container, allocation in (line.split() for line in said.splitlines()):
        if allocation in ours:
            yield container


def _docker(*words: str) -> str:
    """What it says; nothing where there is no Docker, or none for this user."""
    if shutil.which(DOCKER[0]) is None:
        return ""
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*DOCKER, *words], capture_output=True, text=True, timeout=DOCKER_SECONDS_MAX
        )
        return done.stdout if done.returncode == 0 else ""
    return ""
