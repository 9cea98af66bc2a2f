"""`cbs verify`: every invariant on the live data, while the bank works on."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
import typer

from cbs.bank import SERVICES
from cbs.platform import invariants
from cbs.platform.declaration import declaration_of
from cbs.platform.invariants import CannotSay, Check
from cbs.tools.local import command_line, databases, secrets, state
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    DONE,
    NO,
    AsJson,
    Data,
    ends_with,
    print_json,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import with_database
from cbs.tools.ops.verify import point
from cbs.tools.ops.verify.every_service import checks_of_every
from cbs.tools.ops.verify.point import Point, must_fit
from cbs.tools.ops.verify.point import reached as point_of
from cbs.tools.ops.verify.snapshots import DatabasePlace, Snapshots

ROWS_SHOWN_MAX, VERIFIED = 20, "verified.json"

Outcome = Literal["holds", "violated", "unknown"]
DAMAGED = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)
UNANSWERED = (CannotSay, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class Finding(msgspec.Struct, kw_only=True):
    """What one check found. `more`: there are rows beyond those given."""

    service: str
    check: str
    promise: str
    outcome: Outcome
    seconds: float
    rows: list[dict[str, Any]] = []
    more: bool = False
    why: str = ""


def checks_of(services: Sequence[str]) -> list[Check]:
    """All that can be checked where these services are."""
    every = [check for service in services for check in checks_of_every(service)]
    own = [check for service in services for check in invariants.checks_of(service)]
    return every + [check for check in own if set(check.reads) <= set(services)]


def read_first(checks: Sequence[Check], hears: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Of each service, those that are read before it though it hears none of them."""
    first: dict[str, set[str]] = {}
    for check in checks:
        for other in set(check.reads) - set(hears[check.service]):
            first.setdefault(other, set()).add(check.service)
    return first


async def findings(
    places: Mapping[str, DatabasePlace],
    *,
    checks: Sequence[Check] = (),
    rows_max: int = ROWS_SHOWN_MAX,
    say: Callable[[str], None],
    tell: Callable[[Finding], None],
    fence_seconds_max: float | None = None,
    may_lose: bool = False,
    since: Point | None = None,
    reached: Callable[[Point], None] | None = None,
) -> list[Finding]:
    """Make these checks, or all, one at a time, and tell of each; raises CannotSay if none can be
    made.

    Facts and the audit log are checked from the point `since`, and `reached` gets the new one if
    everything holds. `may_lose` is for tests: otherwise a server that may lose what it
    acknowledged is refused.
    """
    hears = {service: declaration_of(service).hears for service in places}
    checks = checks or checks_of(list(places))
    snapshots = Snapshots(places=places, hears=hears, read_first=read_first(checks, hears))
    if fence_seconds_max is not None:
        snapshots.fence_seconds_max = fence_seconds_max
    if since is not None:
        snapshots.since = since
    found = []
    async with snapshots.taken(say):
        if not may_lose:
            for service in places:
                await _must_be_durable(snapshots, service)
        if since is not None:
            await must_fit(since, snapshots)
        for check in checks:
            found.append(await _made(check, snapshots, rows_max))
            tell(found[-1])
        if reached is not None and verdict(found) == DONE:
            reached(await point_of(snapshots, snapshots.heads))
    return found


async def _must_be_durable(snapshots: Snapshots, service: str) -> None:
    off = [
        name
        for name in databases.DURABLE
        if (await snapshots.now(service, f"SHOW {name}"))[0][name] == "off"
    ]
    if off:
        raise CannotSay(
            f"{', '.join(off)} is off on the PostgreSQL of {service}: what it acknowledges can be"
            " lost, so nothing it says now is certain. Turn it on in postgresql.conf (or ALTER"
            " SYSTEM SET), restart the server, and verify again"
        )


async def _made(check: Check, snapshots: Snapshots, rows_max: int) -> Finding:
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    why = ""
    try:
        async with snapshots.apart():
            async for row in check.find(snapshots):
                rows.append(_plain(row))
                if len(rows) > rows_max:
                    break
    except DAMAGED as error:
        why = f"{error}: its disk has damaged it. See docs/how-to/broken-storage.md"
    except UNANSWERED as error:
        why = str(error) or repr(error)
    outcome: Outcome = "violated" if rows else "unknown" if why else "holds"
    return Finding(
        service=check.service,
        check=check.name,
        promise=check.promise,
        outcome=outcome,
        seconds=round(time.monotonic() - began, 3),
        rows=rows[:rows_max],
        more=len(rows) > rows_max,
        why=why,
    )


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    # PostgreSQL's sums of bigint are numeric, which would be shown as 1E+4.
    return {k: int(v) if isinstance(v, Decimal) else v for k, v in row.items()}


PostgresUrl = Annotated[
    str,
    typer.Option(
        envvar="CBS_VERIFY_POSTGRES_URL",
        metavar="URL",
        help="The PostgreSQL of a bank that is not of this machine, such as"
        " postgresql://HOST:PORT: read as cbs_verify, whose password is in PGPASSFILE.",
        show_default=False,
    ),
]
FromLast = Annotated[
    bool,
    typer.Option(
        "--from-last",
        help="Check facts and the audit log from the last verified point on; rows, all.",
    ),
]
PointFile = Annotated[
    Path | None,
    typer.Option(
        "--point",
        metavar="FILE",
        help="Where that point is kept, if not in the bank's folder.",
        show_default=False,
    ),
]


def verify(
    data: Data = None,
    postgres_url: PostgresUrl = "",
    from_last: FromLast = False,
    point_file: PointFile = None,
    as_json: AsJson = False,
) -> None:
    """Check every invariant on the live data, only reading; the bank may go on working.

    Exit 0: all hold. 1: some do not, and the rows are shown. 3: it cannot be said, and why.
    """
    console = command_line.console(as_json=as_json)
    folder = Folder.at(data)
    kept = point_file or (None if postgres_url else folder.root / VERIFIED)
    with ends_with(CANNOT_SAY, *UNANSWERED):
        if from_last and kept is None:
            raise CannotSay("--from-last needs --point FILE where the bank is not of this machine")
        found = asyncio.run(
            findings(
                places_at(postgres_url) if postgres_url else places_of(folder),
                say=console.print,
                tell=lambda finding: console.print(line(finding)),
                since=point.read(kept) if from_last and kept else None,
                reached=lambda now: point.keep(kept, now) if kept else None,
            )
        )
    outcomes = [finding.outcome for finding in found]
    if as_json:
        print_json(found)
    console.print(
        f"{len(found)} invariants: {outcomes.count('holds')} hold,"
        f" {outcomes.count('violated')} violated, {outcomes.count('unknown')} cannot be said"
    )
    # Where only the last lines are kept or shown, they say what matters.
    for finding in found:
        if finding.outcome != "holds":
            console.print(f"{finding.outcome}: {finding.service} {finding.check}{_first(finding)}")
    raise typer.Exit(verdict(found))


def verdict(found: Sequence[Finding]) -> int:
    """The exit code. A violation says no, whatever else could not be said."""
    outcomes = {finding.outcome for finding in found}
    return NO if "violated" in outcomes else CANNOT_SAY if outcomes != {"holds"} else DONE


def places_of(folder: Folder) -> dict[str, DatabasePlace]:
    """The databases of the bank that is up in this folder; raises CannotSay if none is."""
    running = state.read(folder.state)
    if running is None or not running.postgres_url:
        raise CannotSay(f"no bank is up in {folder.root}: ./cbs up")
    passfile = secrets.pgpass(folder, databases.VERIFY)
    return {
        service: DatabasePlace(
            url=with_database(
                running.postgres_url, databases.runtime_of(service), databases.VERIFY
            ),
            passfile=passfile,
        )
        for service in SERVICES
    }


def places_at(postgres_url: str) -> dict[str, DatabasePlace]:
    """The databases of a bank on one server; libpq's PGPASSFILE has the password."""
    return {
        service: DatabasePlace(
            url=with_database(postgres_url, databases.runtime_of(service), databases.VERIFY)
        )
        for service in SERVICES
    }


def _first(finding: Finding) -> str:
    said = (
        ", ".join(f"{k} {v}" for k, v in finding.rows[0].items()) if finding.rows else finding.why
    )
    return f": {said}" if said else ""


def line(finding: Finding) -> str:
    """A check in a line, and under it what was found."""
    name = f"{finding.service}: {finding.promise}"
    lines = [f"{finding.outcome:8} {name} ({finding.check}, {finding.seconds:.2f} s)"]
    lines += ["    " + ", ".join(f"{k} {v}" for k, v in row.items()) for row in finding.rows]
    if finding.more:
        lines.append(f"    and more than {len(finding.rows)} rows")
    if finding.why:
        lines.append(f"    {finding.why}")
    return "\n".join(lines)
