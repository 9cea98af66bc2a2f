"""Looking at a bank: what each part says of itself, and what it writes."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.table import Table

from cbs.bank import SERVICES
from cbs.tools.local import command_line, health, state
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    NO,
    AsJson,
    Data,
    ends_with,
    print_json,
    print_table,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.program import tail
from cbs.tools.local.readiness import NotReady, not_ready
from cbs.tools.local.state import BankState, ProgramState, uptime_seconds

POLL_SECONDS = 0.25
LINES_SHOWN = 40
READ_BYTES_MAX = 1 << 20


def status(
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what a caller gets, and the health of every part; exit 1, and why, if it is not well."""
    folder, console = Folder.at(data), command_line.console()
    with ends_with(CANNOT_SAY, OSError, ValueError, saying=f"cannot read {folder.state}: "):
        now = state.read(folder.state)
    reasons = asyncio.run(not_ready(folder, now)) if now and now.phase == "ready" else []
    parts = _parts(now, reasons) if now else []
    well = now is not None and now.phase == "ready" and not reasons
    well = well and all(part["health"] == "ready" for part in parts)
    if as_json:
        print_json(_report(folder, now, parts) | {"ready": well, "reasons": reasons})
    elif now is None:
        console.print(f"no bank is up in {folder.root}: start it with ./cbs up{folder.option}")
    else:
        phase = "not ready" if now.phase == "ready" and not well else now.phase
        console.print(f"{phase}: {now.edge_url}, data in {folder.root}")
        for name in now.external:
            console.print(f"{name} is a server of your own")
        print_table(_table(parts))
        for why, step in dict.fromkeys((each.why, each.next_step) for each in reasons):
            parts_of = [each.part for each in reasons if (each.why, each.next_step) == (why, step)]
            console.print(f"{', '.join(parts_of)}: {why}\n  next: {step}")
    raise typer.Exit(0 if well else NO)


def _report(folder: Folder, now: BankState | None, parts: list[dict[str, Any]]) -> dict[str, Any]:
    if now is None:
        return {"phase": "down", "data": str(folder.root), "parts": []}
    return {
        "phase": now.phase,
        "data": str(folder.root),
        "pid": now.pid,
        "edge_url": now.edge_url,
        "postgres_url": now.postgres_url,
        "nats_url": now.nats_url,
        "external": now.external,
        "from_pex": now.from_pex,
        "parts": parts,
    }


def _parts(now: BankState, reasons: list[NotReady]) -> list[dict[str, Any]]:
    """What the supervisor knows of each part, what a service says of itself just now, and, whatever
    either of them says, whether it is of use to a caller."""
    failing = {reason.part for reason in reasons}
    with ThreadPoolExecutor(len(now.programs) or 1) as at_once:
        return list(at_once.map(lambda part: _described(part, part.name in failing), now.programs))


def _described(program: ProgramState, is_failing: bool) -> dict[str, Any]:
    said: dict[str, Any] = {}
    health_now = program.phase
    if program.name in SERVICES and program.phase == "ready":
        well, said = health.readiness(program.port)
        health_now = "ready" if well else "not ready"
    return {
        "name": program.name,
        "health": "not ready" if is_failing and health_now == "ready" else health_now,
        "version": said.get("version", ""),
        "pid": program.pid,
        "port": program.port,
        "uptime_seconds": uptime_seconds(program),
        "restarts": program.restarts,
        "last_exit": program.last_exit,
        "queues": said.get("queues", {}),
    }


def _table(parts: list[dict[str, Any]]) -> Table:
    table = Table("part", "health", "version", "pid", "port", "uptime", "restarts", "waiting")
    for part in parts:
        table.add_row(
            part["name"],
            f"[{'green' if part['health'] == 'ready' else 'red'}]{part['health']}[/]",
            part["version"],
            str(part["pid"] or ""),
            str(part["port"]),
            str(timedelta(seconds=part["uptime_seconds"])),
            str(part["restarts"]),
            ", ".join(f"{name} {depth}" for name, depth in part["queues"].items() if depth),
        )
    return table


def logs(
    service: Annotated[
        str | None, typer.Argument(help="A service, postgres, nats, edge or supervisor.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on showing what is added; Ctrl-C ends.")
    ] = False,
    data: Data = None,
) -> None:
    """Show the end of one log, or of all."""
    folder = Folder.at(data)
    found = sorted((folder.root / "logs").glob("*.log"))
    chosen = [log for log in found if service in (None, log.stem)]
    if not chosen:
        known = ", ".join(log.stem for log in found) or "none"
        typer.echo(f"no log {service or ''} in {folder.root}/logs; there is: {known}", err=True)
        raise typer.Exit(NO)
    widest = max(len(log.stem) for log in chosen) if len(chosen) > 1 else 0
    for log in chosen:
        for line in tail(log).splitlines()[-LINES_SHOWN:]:
            _show(log, line, widest)
    if follow:
        try:
            for log, line in _added(chosen):
                _show(log, line, widest)
        except KeyboardInterrupt:
            return


def _show(log: Path, line: str, widest: int) -> None:
    typer.echo(f"{log.stem:{widest}} | {line}" if widest else line)


def _added(logs: list[Path]) -> Iterator[tuple[Path, str]]:
    """Lines as they are written, also after a log was cut because it had grown too long."""
    files: list[tuple[Path, IO[bytes]]] = [(log, log.open("rb")) for log in logs]
    for log, file in files:
        file.seek(log.stat().st_size)
    rest = {log: b"" for log in logs}
    while True:
        for log, file in files:
            if log.stat().st_size < file.tell():
                file.seek(0)
            *lines, rest[log] = (rest[log] + file.read(READ_BYTES_MAX)).split(b"\n")
            yield from ((log, line.decode(errors="replace")) for line in lines)
        time.sleep(POLL_SECONDS)
