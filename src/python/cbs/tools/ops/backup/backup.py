"""A backup is taken from the bank while it works, and from then on every change is archived."""

import asyncio
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import msgspec
import typer

from cbs.bank import SERVICES
from cbs.tools.local import command_line, databases, postgres, secrets, state
from cbs.tools.local.command_line import CANNOT_SAY, NO, AsJson, Data, ends_with, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import with_database
from cbs.tools.ops.backup import manifest
from cbs.tools.ops.backup.backup_repository import WAL, Backup, BackupRepository, WrongRepository
from cbs.tools.ops.backup.base_backup import BackupSource, own_major
from cbs.tools.ops.backup.manifest import Damaged, Manifest

KEPT_DEFAULT, KEPT_MAX = 7, 1000
START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.M)
NOT_DONE = (WrongRepository, Damaged, OSError, asyncpg.PostgresError)
SECRETS_STAY = (
    "secrets are not in it: keep {key} elsewhere, for without it customers cannot be read;"
    " the others are made anew. --with-secrets puts them in"
)
NO_ARCHIVE = (
    "it restores the moment at which it ended: what the server writes later is kept by its own"
    " archive_command or not at all. The vault key is not in it"
)


class NotPossible(RuntimeError):
    """This bank cannot be backed up from here; the message says what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is backed up. `folder` is of a bank of this machine, whose server archives for us."""

    server: BackupSource
    bank: str
    vault_key: str
    folder: Folder | None = None


def repository_beside(folder: Folder) -> Path:
    """Where backups go unless told otherwise: not into the bank, which `reset` erases."""
    return folder.root.with_name(f"{folder.root.name}-backups")


To = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where backups and archived WAL go, best on another disk; by default beside the"
        " bank's folder, with -backups at the end of its name.",
        show_default=False,
    ),
]
PostgresUrl = Annotated[
    str,
    typer.Option(
        envvar="CBS_BACKUP_POSTGRES_URL",
        metavar="URL",
        help="The PostgreSQL of a bank on a cluster, such as postgresql://HOST:PORT: copied as"
        " cbs_backup, whose password is in PGPASSFILE. Its WAL is not archived by this.",
        show_default=False,
    ),
]


def backup(
    data: Data = None,
    to: To = None,
    keep: Annotated[
        int, typer.Option(min=1, max=KEPT_MAX, help="Older backups are removed.")
    ] = KEPT_DEFAULT,
    with_secrets: Annotated[
        bool,
        typer.Option("--with-secrets", help="Put the bank's secrets in: guard it like the bank."),
    ] = False,
    postgres_url: PostgresUrl = "",
    as_json: AsJson = False,
) -> None:
    """Back the bank up while it works; from then on its changes are archived beside the backup.

    Any moment after it can then be restored, up to a minute ago at the worst; of a server named by
    --postgres-url only the copy. Exit 3: the bank is not up, or its PostgreSQL is one of your own.
    """
    folder = Folder.at(data)
    console = command_line.console(as_json=as_json)
    if postgres_url and (to is None or with_secrets):
        raise typer.BadParameter("with it goes --to, and never --with-secrets", param_hint="URL")
    with ends_with(CANNOT_SAY, NotPossible), ends_with(NO, *NOT_DONE, saying="no backup: "):
        subject = _elsewhere(postgres_url) if postgres_url else _here(folder)
        repository = BackupRepository.of(
            (to or repository_beside(folder)).expanduser().resolve(), subject.bank
        )
        taken, removed = _taken(subject, repository, keep, with_secrets, console.print)
    if as_json:
        said = {"path": taken.path, "removed": removed}
        print_json(said | msgspec.to_builtins(taken.manifest))
    console.print(f"backed up in {taken.path} ({taken.manifest.bytes >> 20} MiB)")
    if postgres_url:
        console.print(NO_ARCHIVE)
    elif not with_secrets:
        console.print(SECRETS_STAY.format(key=secrets.vault_key(folder)))


def _here(folder: Folder) -> Subject:
    running = state.ready(folder.state)
    if running is None:
        raise NotPossible(f"no bank is up in {folder.root}: ./cbs up")
    if "postgres" in running.external:
        names = ", ".join(databases.runtime_of(service) for service in SERVICES)
        raise NotPossible(
            f"the bank's PostgreSQL is one of your own: back the whole server up with its own"
            f" tools (pg_basebackup and an archive_command; {names} must come from one moment),"
            f" and keep {secrets.vault_key(folder)}"
        )
    url = with_database(running.postgres_url, "postgres", postgres.ADMIN)
    return Subject(
        server=BackupSource(url=url, passfile=secrets.pgpass(folder, postgres.ADMIN)),
        bank=folder.id,
        vault_key=manifest.key_fingerprint(secrets.vault_key(folder).read_text()),
        folder=folder,
    )


def _elsewhere(postgres_url: str) -> Subject:
    """Which bank it is, and which key its customers need, its server itself knows."""
    url = with_database(postgres_url, databases.runtime_of("ledger"), databases.BACKUP)
    server = BackupSource(url=url)
    theirs, ours = asyncio.run(server.major()), own_major()
    if theirs != ours:
        raise NotPossible(
            f"that server is PostgreSQL {theirs}, and what copies and restores here is {ours}: back"
            " it up with its own pg_basebackup"
        )
    bank, key = asyncio.run(databases.noted(url, databases.VERIFY, databases.BACKUP))
    if not bank or not key:
        raise NotPossible("that server does not say which bank it holds: ./cbs cluster up first")
    return Subject(server=server, bank=bank, vault_key=key)


def _taken(
    subject: Subject,
    repository: BackupRepository,
    keep: int,
    with_secrets: bool,
    say: Callable[[str], None],
) -> tuple[Backup, list[str]]:
    server, folder = subject.server, subject.folder
    began_at = datetime.now(UTC)
    path = repository.root / f"{began_at:%Y-%m-%dT%H-%M-%S.%fZ}"
    # A server that does not archive for us has no WAL here: the name leads nowhere.
    archive = repository.archive_of(folder) if folder else repository.root / f"{WAL}of-{path.name}"
    facts, owed = asyncio.run(server.standing())
    part = path.with_name(f"{path.name}.part")
    part.mkdir(mode=0o700)
    server.copied(part / manifest.DATA, say)
    server_state = asyncio.run(server.state(archives=folder is not None))
    if with_secrets and folder:
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
            bank=subject.bank,
            began_at=began_at,
            wal=archive.name,
            first_segment=label[1],
            last_segment=manifest.segment_of(span["Timeline"], span["End-LSN"]),
            bytes=sum(each.stat().st_size for each in part.rglob("*") if each.is_file()),
            facts=facts,
            owed_minor=owed,
            with_secrets=with_secrets,
            vault_key=subject.vault_key,
            files_sha256=hashlib.sha256(listed).hexdigest(),
            **server_state,
        ),
    )
    os.sync()  # PostgreSQL's files are; ours and the folders' names are not yet
    part.rename(path)
    taken = Backup(path, manifest.read(path))
    say("checking what was written")
    taken.check(None)
    return taken, repository.prune(keep, archive)
