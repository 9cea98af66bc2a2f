"""A copy of a backup is rolled forward in private: nothing that exists is touched by a failure."""

import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cbs.tools.local import postgres, wal_segment
from cbs.tools.local.process import CannotStart, running
from cbs.tools.local.progress import now_and_then
from cbs.tools.ops.backup.backup_repository import Backup, OutOfReach
from cbs.tools.ops.backup.manifest import Damaged

RECOVERY_SECONDS_MAX = 24 * 3600
TARGET_NOT_REACHED = "recovery ended before configured recovery target was reached"
LAST_CHANGE = re.compile(r"last completed transaction was at log time (\S+ \S+)")
LAST_SEGMENT = re.compile(r'restored log file "([0-9A-F]{24})"')


@contextmanager
def private_server(
    data: Path,
    *,
    log: Path,
    settings: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """A server that only this user can enter, for the length of a block: yields its
    administrator's URL once it has recovered. Raises CannotStart."""
    # A socket's path must be short; the folder is open to its owner alone.
    entry = Path(tempfile.mkdtemp(prefix="cbs-entry-"))
    hba = entry / "hba.conf"
    hba.write_text("local all all trust\n")
    private = {
        "listen_addresses": "",
        "unix_socket_directories": str(entry),
        "hba_file": str(hba),
        "hot_standby": "off",  # or it would call itself ready before the last change is in
    }
    tell = now_and_then(say)

    def how_far() -> str:
        reached = LAST_SEGMENT.findall(log.read_text(errors="replace"))
        return f"  … recovering{f', WAL segment {reached[-1]}' if reached else ''}"

    def is_ready() -> bool:
        tell(how_far)
        return bool(postgres.says_ready(data))

    try:
        postgres.clear_stale_lock(data)
        with running(
            postgres.command(data, 5432, postgres.BANK | dict(settings) | private),
            log=log,
            is_ready=is_ready,
            stop=signal.SIGINT,
            seconds=RECOVERY_SECONDS_MAX,
        ):
            yield f"postgresql://{postgres.ADMIN}@/postgres?host={entry}&port=5432"
    finally:
        shutil.rmtree(entry, ignore_errors=True)


def copy_backup(backup: Backup, draft: Path) -> None:
    """Copy what is to be rolled forward."""
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(backup.data, draft)
    draft.chmod(0o700)
    (draft / "recovery.signal").touch(mode=0o600)


@contextmanager
def recovered_server(
    backup: Backup,
    draft: Path,
    *,
    at: datetime | None,
    tail: Path | None,
    say: Callable[[str], None],
) -> Iterator[str]:
    """Roll the draft forward to `at`, or to the end of what there is, and yield its server's URL.

    `tail` is the `pg_wal` of the bank itself, which has what was not archived yet. Raises
    OutOfReach and Damaged.
    """
    log = log_of(draft)
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    # A folder that is not there is not looked into: another user's rights could forbid even that.
    folders = [place for place in (backup.wal, tail) if place and place.is_dir()]
    script = [sys.executable, "-I", wal_segment.__file__, "fetch"]
    fetch = shlex.join(script).replace("%", "%%") + " %f %p "
    settings = {
        "archive_mode": "off",
        "restore_command": fetch + shlex.join(map(str, folders)).replace("%", "%%"),
        # A bank that was restored before has another history from there on.
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
        "recovery_init_sync_method": "syncfs",
    }
    if at is not None:
        settings["recovery_target_time"] = at.isoformat()
    entered = False
    try:
        with private_server(draft, log=log, settings=settings, say=say) as url:
            entered = True
            yield url
    except CannotStart:
        if entered:
            raise
        text = log.read_text(errors="replace")
        if TARGET_NOT_REACHED in text:
            raise OutOfReach(
                f"the last change that is archived is of {last_change(draft)}: nothing is known"
                " of a later moment. Without --at all of it is restored"
            ) from None
        raise Damaged(f"{backup.path} cannot be restored:\n{text[-2000:]}") from None


def log_of(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.log")


def last_change(draft: Path) -> str:
    """When the last change was made that the recovered draft has."""
    found = LAST_CHANGE.findall(log_of(draft).read_text(errors="replace"))
    if not found:
        return "the backup itself"
    return datetime.fromisoformat(found[-1]).astimezone(UTC).isoformat()
