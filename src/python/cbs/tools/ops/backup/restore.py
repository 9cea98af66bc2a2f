"""A restore takes effect in one step at its end: what was there stays until it has succeeded."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console

from cbs.bank import SERVICES
from cbs.tools.local import command_line, databases, nats_server, postgres, secrets, state
from cbs.tools.local.bank import clear_up
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    NO,
    WRONG_USAGE,
    AsJson,
    Data,
    ends_with,
    print_json,
)
from cbs.tools.local.folder import Folder, InUse, NotABank, write_whole
from cbs.tools.local.parts import replaced
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.postgres import with_database
from cbs.tools.local.process import CannotStart
from cbs.tools.ops.backup import manifest, recovery, restore_service
from cbs.tools.ops.backup.backup import NotPossible
from cbs.tools.ops.backup.backup_repository import Backup, OutOfReach, find_backup
from cbs.tools.ops.backup.manifest import Damaged, NotABackup


class NotRestored(RuntimeError):
    """The restore is refused; the message says why and what to do."""


NOT_DONE = (
    *(NotRestored, restore_service.Diverged, Damaged, OutOfReach, InUse, NotABank, CannotStart),
    *(OSError, asyncpg.PostgresError),
)


def moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it as 2026-11-24T10:15:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter("say in which zone: 2026-11-24T10:15:00Z, or +05:30 at its end")
    return at.astimezone(UTC)


From = Annotated[
    Path, typer.Argument(metavar="FROM", exists=True, help="What ./cbs backup made, or DIR.")
]
At = Annotated[
    datetime | None,
    typer.Option(
        parser=moment,
        metavar="MOMENT",
        help="Everything that was committed until then, such as 2026-11-24T10:15:00Z;"
        " by default all that was archived.",
        show_default=False,
    ),
]
VaultKey = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="The bank's secrets/vault.key, if neither folder nor backup has it.",
    ),
]


def restore(
    source: From,
    at: At = None,
    service: Annotated[
        str | None, typer.Option(help="One service alone; the others stay as they are.")
    ] = None,
    data: Data = None,
    vault_key: VaultKey = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace what is there without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a bank that is down from a backup, and from what was archived after it.

    Nothing is replaced before the backup has been checked and rolled forward beside it. Then
    ./cbs up and ./cbs verify. Exit 1: refused, and why; the bank is as it was.
    """
    if service is not None and service not in SERVICES:
        raise typer.BadParameter(f"there is {', '.join(SERVICES)}", param_hint="--service")
    folder = Folder.at(data)
    console = command_line.console(as_json=as_json)
    with (
        ends_with(WRONG_USAGE, NotABackup),
        ends_with(CANNOT_SAY, NotPossible),
        ends_with(NO, *NOT_DONE, saying="nothing is restored: "),
    ):
        said = _restored(
            folder, source.resolve(), at, service, vault_key, lambda: _sure(folder, yes), console
        )
    if as_json:
        print_json(said)
    what = service or "the bank"
    console.print(f"{what} is restored in {folder.root}, until {said['last_change']}")
    console.print(f"then ./cbs up{folder.option} and ./cbs verify{folder.option}")


def _sure(folder: Folder, yes: bool) -> None:
    if not yes and not typer.confirm(f"Replace what the bank in {folder.root} has?"):
        raise NotRestored("not confirmed")


def _restored(
    folder: Folder,
    source: Path,
    at: datetime | None,
    service: str | None,
    vault_key: Path | None,
    sure: Callable[[], None],
    console: Console,
) -> dict[str, Any]:
    plan = StartPlan.of(os.environ, None)
    if plan.postgres_url:
        raise NotPossible(
            "CBS_POSTGRES_URL names a server of your own: restore it with its own tools, remove"
            " the streams CBS_* from NATS, and bring the bank's vault.key"
        )
    backup = find_backup(source, at)
    if state.read(folder.state) is not None:
        raise NotRestored(f"the bank in {folder.root} is up: ./cbs down")
    has_data = (folder.root / "postgres" / "data").exists()
    if folder.is_bank and folder.id != backup.manifest.bank:
        raise NotRestored(f"{folder.root} is another bank: name another --data, or ./cbs reset")
    if service is not None and not has_data:
        raise NotRestored(f"{folder.root} has no bank in which {service} could be restored")
    key = _vault_key(folder, backup, vault_key)
    console.print(f"checking {backup.path}")
    backup.check(at)
    if has_data:
        sure()
    folder.found(backup.manifest.bank)
    with folder.lock():
        clear_up(folder)
        _bring_secrets(folder, backup, key)
        if service is None:
            return _whole(folder, plan, backup, at, console)
        return _alone(folder, plan, backup, at, service, console)


def _vault_key(folder: Folder, backup: Backup, named: Path | None) -> str:
    own, kept = secrets.vault_key(folder) if folder.is_bank else None, backup.path
    places = [named, own, kept / manifest.SECRETS / "vault.key"]
    for place in places:
        if place is not None and place.exists():
            key = place.read_text()
            if manifest.key_fingerprint(key) == backup.manifest.vault_key:
                return key
    raise NotRestored(
        "the key to the customers' data is not there: bring the bank's secrets/vault.key with"
        " --vault-key FILE (it is in no backup, unless made --with-secrets)"
    )


def _bring_secrets(folder: Folder, backup: Backup, key: str) -> None:
    for kept in (backup.path / manifest.SECRETS).glob("*"):
        if not folder.secret(kept.name).exists():
            write_whole(folder.secret(kept.name), kept.read_text())
    write_whole(secrets.vault_key(folder), key)
    secrets.make_all(folder)


def _whole(
    folder: Folder, plan: StartPlan, backup: Backup, at: datetime | None, console: Console
) -> dict[str, Any]:
    data = folder["postgres"] / "data"
    with _draft(folder, backup) as draft:
        tail = _tail(folder, backup)
        with recovery.recovered_server(backup, draft, at=at, tail=tail, say=console.print) as url:
            facts = asyncio.run(_adopted(folder, url))
            _must_have(backup, facts)
        said = _said(backup, draft, facts)
        # Streams first: what they said after this moment must never be heard again, and what
        # is still true is heard from the outboxes.
        _forget_streams(folder, plan)
        shutil.rmtree(replaced(data), ignore_errors=True)
        if data.exists():
            data.rename(replaced(data))
        draft.rename(data)
        folder.archive.unlink(missing_ok=True)
        os.sync()
        shutil.rmtree(replaced(data), ignore_errors=True)
    return said


def _alone(
    folder: Folder,
    plan: StartPlan,
    backup: Backup,
    at: datetime | None,
    service: str,
    console: Console,
) -> dict[str, Any]:
    with _draft(folder, backup) as draft:
        tail = _tail(folder, backup)
        with recovery.recovered_server(
            backup, draft, at=at, tail=tail, say=console.print
        ) as source:
            current = folder["postgres"] / "data"
            settings = postgres.archiving(folder.archive)
            log = folder.log("postgres")
            with recovery.private_server(current, log=log, settings=settings) as target:
                restored = restore_service.ServiceRestore(
                    service=service, source=source, target=target
                )
                again = asyncio.run(restored.reconciled(console.print))
                _forget_streams(folder, plan)
                restored.made(draft.with_name(f"{service}.dump"))
                facts = asyncio.run(_heads(target))
        return _said(backup, draft, facts) | {"service": service, "hears_again": again}


def _said(backup: Backup, draft: Path, facts: dict[str, int]) -> dict[str, Any]:
    return {
        "backup": backup.manifest.name,
        "last_change": recovery.last_change(draft),
        "facts": facts,
    }


@contextmanager
def _draft(folder: Folder, backup: Backup) -> Iterator[Path]:
    place = folder["restoring"]
    try:
        recovery.copy_backup(backup, place / "data")
        yield place / "data"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tail(folder: Folder, backup: Backup) -> Path | None:
    """What the bank that is there has not archived yet, if it archives where the backup says."""
    if folder.archive.exists() and Path(folder.archive.read_text().strip()) == backup.wal:
        for data in (folder["postgres"] / "data", replaced(folder["postgres"] / "data")):
            if (data / "pg_wal").is_dir():
                return data / "pg_wal"
    return None


async def _adopted(folder: Folder, url: str) -> dict[str, int]:
    """The administrator gets the folder's password; `up` does so for the others."""
    verifier = secrets.scram_verifier(secrets.password(folder, postgres.ADMIN), token_bytes(16))
    await databases.make_roles(url, {postgres.ADMIN: verifier})
    return await _heads(url)


async def _heads(url: str) -> dict[str, int]:
    heads = {}
    for service in SERVICES:
        place = with_database(url, databases.runtime_of(service))
        try:
            heads[service] = await databases.number(place, restore_service.HEAD)
        except asyncpg.InvalidCatalogNameError:
            raise NotRestored(f"{service} {restore_service.DROPPED}") from None
    return heads


def _must_have(backup: Backup, facts: dict[str, int]) -> None:
    for service, head in backup.manifest.facts.items():
        if facts[service] < head:
            raise Damaged(
                f"{service} came back with {facts[service]} facts, and had {head} when"
                f" {backup.manifest.name} began: use another backup"
            )


def _forget_streams(folder: Folder, plan: StartPlan) -> None:
    if not plan.nats_url:
        shutil.rmtree(folder["nats"] / "store", ignore_errors=True)
        return
    seed = (
        secrets.nkey_seed(folder, nats_server.ADMIN)
        if nats_server.wants_nkey(plan.nats_url)
        else None
    )
    asyncio.run(nats_server.erase(plan.nats_url, SERVICES, seed))
