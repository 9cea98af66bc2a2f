"""A server is copied while it works, by its own protocol; what it says of itself is in no copy."""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbs.bank import SERVICES
from cbs.tools.local import databases, postgres
from cbs.tools.local.databases import connected
from cbs.tools.local.postgres import with_database
from cbs.tools.local.process import mortal, output_of
from cbs.tools.local.progress import now_and_then
from cbs.tools.local.waiting import until, wait_until

ARCHIVED_SECONDS_MAX, COPY_SECONDS_MAX = 60.0, 12 * 3600.0
POLL_SECONDS = 0.2
OWED = """
    SELECT currency::text, sum(balance_minor)::bigint AS minor FROM account
    WHERE kind = 'customer' GROUP BY currency ORDER BY currency"""
MAJOR = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSource:
    """`url` is of a role that may copy and read it; without `passfile` PGPASSFILE counts."""

    url: str
    passfile: Path | None = None

    def _connected(self, database: str = "") -> AbstractAsyncContextManager[Any]:
        url = with_database(self.url, database) if database else self.url
        return connected(url, passfile=self.passfile)

    async def standing(self) -> tuple[dict[str, int], dict[str, int]]:
        """The head of every outbox, and what the customers have in each currency."""
        facts, owed = {}, {}
        for service in SERVICES:
            async with self._connected(databases.runtime_of(service)) as inside:
                facts[service] = await inside.fetchval("SELECT position FROM outbox_head")
                if service == "ledger":
                    owed = {row["currency"]: row["minor"] for row in await inside.fetch(OWED)}
        return facts, owed

    def copied(self, target: Path, say: Callable[[str], None]) -> None:
        """With the WAL that the copy itself needs; raises OSError."""
        argv = [postgres.program("pg_basebackup"), "--dbname", self.url, "--no-password"]
        argv += ["--pgdata", str(target), "--checkpoint=fast", "--wal-method=stream"]
        argv += ["--manifest-checksums=SHA256", "--label=cbs backup"]
        named = {"PGPASSFILE": str(self.passfile)} if self.passfile else {}
        log = target.with_name("log")
        with log.open("wb") as out:
            copying = subprocess.Popen(mortal(argv), env=os.environ | named, stdout=out, stderr=out)
        tell = now_and_then(say)

        def is_done() -> bool:
            tell(lambda: f"  … {_size_now(target) >> 20} MiB copied")
            return copying.poll() is not None

        if not wait_until(is_done, seconds=COPY_SECONDS_MAX, every=POLL_SECONDS):
            copying.kill()
            copying.wait()
            raise OSError(f"the copy was not done in {COPY_SECONDS_MAX / 3600:g} hours")
        if copying.returncode != 0:
            raise OSError(f"pg_basebackup failed: {log.read_text()[-2000:]}")
        log.unlink()

    async def state(self, *, archives: bool) -> dict[str, Any]:
        """What it says of itself now; if it archives, once the archive has all of before."""
        async with self._connected() as asked:
            # Taken before the switch, so that the moment is in the archive.
            ended_at = await asked.fetchval("SELECT clock_timestamp()")
            if archives:
                await _archived(asked)
            system = await asked.fetchval("SELECT system_identifier FROM pg_control_system()")
            return {
                "ended_at": ended_at,
                "postgres": await asked.fetchval("SHOW server_version"),
                "system": str(system),
            }

    async def major(self) -> int:
        """The major version of the server."""
        async with self._connected() as asked:
            return int(await asked.fetchval("SHOW server_version_num")) // 10_000


def own_major() -> int:
    """Of the programs that copy and restore here."""
    said = output_of([postgres.program("pg_basebackup"), "--version"])
    found = MAJOR.search(said)
    assert found, said
    return int(found[1])


async def _archived(admin: Any) -> None:
    # Something to switch after: recovery to a moment wants to see a commit that is later.
    await admin.execute("COMMENT ON DATABASE postgres IS 'cbs backup'")
    last = await admin.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
    archived = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver"
    if not await until(lambda: admin.fetchval(archived, last), seconds=ARCHIVED_SECONDS_MAX):
        raise OSError("PostgreSQL does not archive its WAL: see ./cbs logs postgres")


def _size_now(folder: Path) -> int:
    """While it is written: pg_basebackup renames its last file, so one may be gone meanwhile."""
    size = 0
    for each in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += each.stat().st_size
    return size
