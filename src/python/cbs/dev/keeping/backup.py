"""A backup is taken from the bank while it works, and from then on every change is archived."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import msgspec
import typer
from rich.console import Console

from cbs.dev.folder import SERVICES, Folder
from cbs.dev.keeping import manifest
from cbs.dev.keeping.manifest import Damaged, Manifest
from cbs.dev.keeping.shelf import AnothersShelf, Backup, Shelf
from cbs.dev.running import databases, postgres, secrets, state
from cbs.dev.running.commands import CANNOT_SAY, NO, Data
from cbs.dev.running.postgres import with_database
from cbs.dev.running.process import mortal

KEPT_DEFAULT, KEPT_MAX = 7, 1000
ARCHIVED_SECONDS_MAX, POLL_SECONDS, LINE_SECONDS = 60.0, 0.2, 5.0
START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.M)
OWED = """
    SELECT currency::text, sum(balance_minor)::bigint AS minor FROM account
    WHERE kind = 'customer' GROUP BY currency ORDER BY currency"""
SECRETS_STAY = (
    "secrets are not in it: keep {key} elsewhere, for without it customers cannot be read;"
    " the others are made anew. --with-secrets puts them in"
)


class NotPossible(RuntimeError):
    """This bank cannot be backed up from here; the message says what to do instead."""


def shelf_beside(folder: Folder) -> Path:
    """Where backups go unless told otherwise: not into the bank, which `reset` erases."""
    return folder.root.with_name(f"{folder.root.name}-backups")


def backup(
    data: Data = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where backups and archived WAL go, best on another disk; by default beside the"
            " bank's folder, with -backups at the end of its name.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, max=KEPT_MAX, help="Older backups are removed.")
    ] = KEPT_DEFAULT,
    with_secrets: Annotated[
        bool,
        typer.Option("--with-secrets", help="Put the bank's secrets in: guard it like the bank."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Back the bank up while it works; from then on its changes are archived beside the backup.

    Any moment after it can then be restored, up to a minute ago at the worst. Exit 3: the bank is
    not up, or its PostgreSQL is one of your own.
    """
    folder = Folder.at(data)
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    try:
        admin_url = _admin_url(folder)
        shelf = Shelf.of((to or shelf_beside(folder)).expanduser().resolve(), folder.id)
        taken, removed = _taken(folder, shelf, admin_url, keep, with_secrets, console)
    except NotPossible as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT_SAY) from None
    except (AnothersShelf, Damaged, OSError, asyncpg.PostgresError) as error:
        typer.echo(f"no backup: {error}", err=True)
        raise typer.Exit(NO) from None
    said = {"path": str(taken.path), "removed": removed}
    if as_json:
        whole: dict[str, Any] = said | msgspec.to_builtins(taken.manifest)
        typer.echo(json.dumps(whole, indent=1))
    console.print(f"backed up in {taken.path} ({taken.manifest.bytes >> 20} MiB)")
    if not with_secrets:
        console.print(SECRETS_STAY.format(key=secrets.vault_key(folder)))


def _admin_url(folder: Folder) -> str:
    running = state.read(folder.state)
    if running is None or running.phase != "ready":
        raise NotPossible(f"no bank is up in {folder.root}: ./cbs up")
    if "postgres" in running.external:
        names = ", ".join(databases.runtime_of(service) for service in SERVICES)
        raise NotPossible(
            f"the bank's PostgreSQL is one of your own: back the whole server up with its own"
            f" tools (pg_basebackup and an archive_command; {names} must come from one moment),"
            f" and keep {secrets.vault_key(folder)}"
        )
    return with_database(running.postgres_url, "postgres", postgres.ADMIN)


def _taken(
    folder: Folder,
    shelf: Shelf,
    admin_url: str,
    keep: int,
    with_secrets: bool,
    console: Console,
) -> tuple[Backup, list[str]]:
    passfile = secrets.pgpass(folder, postgres.ADMIN)
    archive = shelf.archive_of(folder)
    began_at = datetime.now(UTC)
    facts, owed = asyncio.run(_standing(admin_url, passfile))
    path = shelf.root / f"{began_at:%Y-%m-%dT%H-%M-%S.%fZ}"
    part = path.with_name(f"{path.name}.part")
    part.mkdir(mode=0o700)
    _copied(admin_url, passfile, part / manifest.DATA, console)
    told = asyncio.run(_archived(admin_url, passfile))
    if with_secrets:
        shutil.copytree(folder["secrets"], part / manifest.SECRETS)
        (part / manifest.SECRETS).chmod(0o700)
    listed = (part / manifest.DATA / "backup_manifest").read_bytes()
    (span,) = json.loads(listed)["WAL-Ranges"]
    label = START.search((part / manifest.DATA / "backup_label").read_text())
    assert label is not None, "pg_basebackup writes where a restore begins"
    manifest.write(
        part,
        Manifest(
            layout=manifest.LAYOUT,
            name=path.name,
            bank=folder.id,
            began_at=began_at,
            wal=archive.name,
            first_segment=label[1],
            last_segment=manifest.segment_of(span["Timeline"], span["End-LSN"]),
            bytes=sum(each.stat().st_size for each in part.rglob("*") if each.is_file()),
            facts=facts,
            owed_minor=owed,
            with_secrets=with_secrets,
            vault_key=manifest.recognised(secrets.vault_key(folder).read_text()),
            files_sha256=hashlib.sha256(listed).hexdigest(),
            **told,
        ),
    )
    os.sync()  # PostgreSQL's files are; ours and the folders' names are not yet
    part.rename(path)
    taken = Backup(path, manifest.read(path))
    console.print("checking what was written")
    taken.check(None)
    return taken, shelf.prune(keep, archive)


def _copied(admin_url: str, passfile: Path, target: Path, console: Console) -> None:
    argv = [postgres.program("pg_basebackup"), "--dbname", admin_url, "--no-password"]
    argv += ["--pgdata", str(target), "--checkpoint=fast", "--wal-method=stream"]
    argv += ["--manifest-checksums=SHA256", "--label=cbs backup"]
    environment = os.environ | {"PGPASSFILE": str(passfile)}
    log = target.with_name("log")
    with log.open("wb") as out:
        copying = subprocess.Popen(mortal(argv), env=environment, stdout=out, stderr=out)
    said_at = time.monotonic()
    while copying.poll() is None:
        if time.monotonic() - said_at > LINE_SECONDS:
            said_at = time.monotonic()
            size = _size_now(target)
            console.print(f"  … {size >> 20} MiB copied")
        time.sleep(POLL_SECONDS)
    if copying.returncode != 0:
        raise OSError(f"pg_basebackup failed: {log.read_text()[-2000:]}")
    log.unlink()


def _size_now(folder: Path) -> int:
    """While it is written: pg_basebackup renames its last file, so one may be gone meanwhile."""
    size = 0
    for each in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += each.stat().st_size
    return size


async def _standing(admin_url: str, passfile: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The head of every outbox, and what the customers have in each currency."""
    facts, owed = {}, {}
    for service in SERVICES:
        url = with_database(admin_url, databases.runtime_of(service))
        inside = await asyncpg.connect(url, passfile=passfile)
        try:
            facts[service] = await inside.fetchval("SELECT position FROM outbox_head")
            if service == "ledger":
                owed = {row["currency"]: row["minor"] for row in await inside.fetch(OWED)}
        finally:
            await inside.close()
    return facts, owed


async def _archived(admin_url: str, passfile: Path) -> dict[str, Any]:
    """What the server says of itself, once the archive has all that was written before."""
    admin = await asyncpg.connect(admin_url, passfile=passfile)
    try:
        # Taken before the switch, so that the moment is in the archive.
        ended_at: datetime = await admin.fetchval("SELECT clock_timestamp()")
        # Something to switch after: recovery to a moment wants to see a commit that is later.
        await admin.execute("COMMENT ON DATABASE postgres IS 'cbs backup'")
        last = await admin.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + ARCHIVED_SECONDS_MAX
        seen = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver"
        while not await admin.fetchval(seen, last):
            if time.monotonic() > deadline:
                raise OSError("PostgreSQL does not archive its WAL: see ./cbs logs postgres")
            await asyncio.sleep(POLL_SECONDS)
        system = await admin.fetchval("SELECT system_identifier FROM pg_control_system()")
        return {
            "ended_at": ended_at,
            "postgres": await admin.fetchval("SHOW server_version"),
            "system": str(system),
        }
    finally:
        await admin.close()
