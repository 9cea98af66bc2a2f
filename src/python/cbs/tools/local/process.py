"""A child process dies with its parent, however the parent ends; a pid alone names nobody."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cbs.platform.child import CannotStart as CannotStart
from cbs.platform.child import mortal as mortal
from cbs.platform.child import started as started
from cbs.tools.local.waiting import wait_until

SAID_CHARACTERS_SHOWN = 2_000


def installed(program: str) -> str:
    """The path of a program: beside the interpreter, where its wheel puts it, or on PATH."""
    folders = (sysconfig.get_path("scripts"), f"{sys.prefix}/bin", Path(sys.executable).parent)
    for folder in folders:
        if (candidate := Path(folder) / program).exists():
            return str(candidate)
    if found := shutil.which(program):
        return found
    raise CannotStart(f"{program} is not installed: run ./cbs, which installs it")


def output_of(
    argv: list[str],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    seconds_max: float | None = None,
) -> str:
    """What a program prints; raises OSError, with what it said, unless it exits 0 in time."""
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            mortal(argv),
            input=stdin,
            env=os.environ | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=seconds_max,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{name} was not done in {seconds_max:g} s") from None
    if done.returncode != 0:
        raise OSError(f"{name} failed: {done.stderr[-SAID_CHARACTERS_SHOWN:].strip()}")
    return done.stdout


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
        wait_until(lambda: is_ready() or process.poll() is not None, seconds=seconds)
        if not is_ready():
            raise CannotStart(f"{argv} is not ready:\n{log.read_text()[-4000:]}")
        yield process.pid
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
