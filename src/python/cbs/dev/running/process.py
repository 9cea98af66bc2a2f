"""A child process dies with its parent, however the parent ends; a pid alone names nobody."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.05


class CannotStart(RuntimeError):
    """A program did not start; the message says why and what to do about it."""


def mortal(argv: list[str], *, death: signal.Signals = signal.SIGKILL) -> list[str]:
    """The same command, sent `death` by the kernel when the thread that starts it ends."""
    return ["setpriv", "--pdeathsig", death.name.removeprefix("SIG"), "--", *argv]


def as_plain_user(argv: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; a user namespace shows it another uid, same rights."""
    if os.geteuid() != 0:
        return argv
    return ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--", *argv]


def check_plain_user() -> None:
    """Raises CannotStart, with the ways out, where root may not make a user namespace."""
    if os.geteuid() != 0:
        return
    tried = subprocess.run(as_plain_user(["true"]), capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise CannotStart(
            f"PostgreSQL does not run as root, and a user namespace is refused here"
            f" ({tried.stderr.strip()}). Do one of: run as an ordinary user; allow user namespaces"
            f" (docker run --security-opt seccomp=unconfined; sysctl"
            f" kernel.unprivileged_userns_clone=1); name a server in CBS_POSTGRES_URL."
        )


def started(pid: int) -> str | None:
    """When this process began, as an opaque text that no other process of that pid will have."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in parentheses may hold spaces; field 3 (state) follows it, field 22 is the start.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def left_behind(mark: str) -> list[int]:
    """Processes of ours whose environment has this `NAME=value`: orphans of a killed parent."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:
            continue  # another user's, or gone by now
    return found


@contextmanager
def running(
    argv: list[str],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    stop: signal.Signals = signal.SIGTERM,
    seconds: int = 30,
) -> Iterator[int]:
    """Run a server for the length of a block, from when it is ready; yields its pid."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + seconds
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{argv} is not ready:\n{log.read_text()[-4000:]}")
            time.sleep(POLL_SECONDS)
        yield process.pid
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
