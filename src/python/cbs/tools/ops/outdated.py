"""`cbs outdated`: what older releases took, and today's rules would refuse."""

import asyncio
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console

from cbs.bank import SERVICES
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
from cbs.tools.local.postgres import ADMIN, with_database
from cbs.tools.ops.verify.verify import (
    UNANSWERED,
    Finding,
    PostgresUrl,
    findings,
    line,
    places_at,
    places_of,
)

ROWS_MAX = 100_000

Mend = Annotated[
    bool, typer.Option("--mend", help="Carry out the repairs that are SQL, on this machine's bank.")
]


def outdated(
    data: Data = None, postgres_url: PostgresUrl = "", mend: Mend = False, as_json: AsJson = False
) -> None:
    """List what is stored and would be refused today, each with its repair.

    All of it stays readable, and nothing of its kind is taken any more. Exit 0: there is none, or
    all of it was mended. 1: there is some. 3: it cannot be said, and why.
    """
    console, folder = command_line.console(as_json=as_json), Folder.at(data)
    with ends_with(CANNOT_SAY, *UNANSWERED):
        if mend and postgres_url:
            raise CannotSay("--mend is for the bank of this machine: run the SQL that is listed")
        found = asyncio.run(_listed(folder, postgres_url, mend, console))
    if as_json:
        print_json(found)
    outcomes = {finding.outcome for finding in found}
    left = any(finding.rows for finding in found)
    raise typer.Exit(CANNOT_SAY if "unknown" in outcomes else NO if left else DONE)


def rules() -> list[Check]:
    """What stands in the `outdated.py` of the services that have one."""
    named = [f"cbs.{service}.outdated" for service in SERVICES]
    modules: list[Any] = [import_module(name) for name in named if find_spec(name)]
    return [rule for module in modules for rule in module.OUTDATED]


async def _listed(folder: Folder, postgres_url: str, mend: bool, console: Console) -> list[Finding]:
    found = await findings(
        places_at(postgres_url) if postgres_url else places_of(folder),
        checks=rules(),
        say=lambda _: None,
        rows_max=ROWS_MAX,
        tell=lambda finding: console.print(line(finding).replace("violated", "outdated", 1)),
    )
    for finding in found if mend else ():
        left = [row for row in finding.rows if not await _mended(folder, finding, row)]
        if mended := len(finding.rows) - len(left):
            console.print(f"mended {mended} of {finding.service}: {finding.promise}")
        finding.rows = left
    return found


async def _mended(folder: Folder, finding: Finding, row: dict[str, Any]) -> bool:
    running = state.read(folder.state)
    if running is None or "sql" not in row:
        return False
    if "postgres" in running.external:
        raise CannotSay("PostgreSQL is not this bank's own: run the SQL that is listed, there")
    url = with_database(running.postgres_url, databases.runtime_of(finding.service), ADMIN)
    connection = await asyncpg.connect(url, passfile=secrets.pgpass(folder, ADMIN))
    try:
        async with connection.transaction():
            await connection.execute(row["sql"])
    finally:
        await connection.close()
    return True
