"""Who was verified with whom, in which versions, with what result, and what is deployed where."""

from collections.abc import Collection
from datetime import datetime

import msgspec
import typer
from rich.table import Table

from cbs.tools.local.command_line import print_table
from cbs.tools.release.gate.environments import Environment
from cbs.tools.release.gate.history import SHORT, GitHistory, Pact
from cbs.tools.release.gate.records import Result, Store, now
from cbs.tools.release.gate.signatures import is_as_signed

HOLDS, BROKEN, UNKNOWN, FORGED = "holds", "broken", "never verified", "forged"


class Cell(msgspec.Struct, kw_only=True):
    """One pact of one consumer's version with one provider's. Where it is deployed says `in`."""

    consumer: str
    consumer_version: str
    provider: str
    provider_version: str
    result: str
    interactions: int = 0
    broken: list[str] = []
    at: datetime | None = None
    by: str = ""
    log: str = ""
    consumer_in: list[str] = []
    provider_in: list[str] = []


class Deployed(msgspec.Struct, kw_only=True):
    environment: str
    application: str
    version: str


class Matrix(msgspec.Struct, kw_only=True):
    """`version` is the commit that is looked at beside what is deployed. `branches` are those of
    which a version was built."""

    version: str
    at: datetime
    cells: list[Cell]
    deployed: list[Deployed]
    findings: list[str]
    branches: dict[str, list[str]] = {}


def matrix_of(
    history: GitHistory, store: Store, sha: str, environments: list[Environment]
) -> Matrix:
    """Of a version and all that is deployed: every pair that has a pact, the newest versions of
    each first."""
    deployed: dict[tuple[str, str], list[str]] = {}
    for environment in environments:
        for there in environment.there:
            deployed.setdefault((there.application, there.version), []).append(environment.name)
    cells: dict[tuple[str, str, str, str], Cell] = {}
    versions = dict.fromkeys([sha, *(version for _, version in deployed)])
    for consumer_version in versions:
        for pact in history.pacts(consumer_version):
            if consumer_version != sha and (pact.consumer, consumer_version) not in deployed:
                continue
            for provider_version in versions:
                place = (pact.provider, provider_version)
                if provider_version == sha or place in deployed:
                    cell = _cell(history, store, pact, consumer_version, provider_version)
                    cell.consumer_in = deployed.get((pact.consumer, consumer_version), [])
                    cell.provider_in = deployed.get(place, [])
                    key = (pact.consumer, consumer_version, pact.provider, provider_version)
                    cells[key] = cell
    return Matrix(
        version=sha,
        at=now(),
        cells=_newest_first(history, list(cells.values())),
        deployed=[
            Deployed(environment=name, application=application, version=version)
            for (application, version), names in sorted(deployed.items())
            for name in names
        ],
        findings=[finding for each in environments for finding in each.findings],
        branches=_branches(store, versions),
    )


def _branches(store: Store, versions: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for build in store.builds():
        known = found.setdefault(build.version, [])
        if build.version in versions and build.branch and build.branch not in known:
            known.append(build.branch)
    return {version: branches for version, branches in found.items() if branches}


def only(matrix: Matrix, *, consumer: str, provider: str, environment: str) -> Matrix:
    """What is left of it; an empty name leaves all."""
    kept = [
        cell
        for cell in matrix.cells
        if consumer in ("", cell.consumer)
        and provider in ("", cell.provider)
        and (not environment or environment in {*cell.consumer_in} & {*cell.provider_in})
    ]
    return msgspec.structs.replace(matrix, cells=kept)


def _newest_first(history: GitHistory, cells: list[Cell]) -> list[Cell]:
    versions = {v for cell in cells for v in (cell.consumer_version, cell.provider_version)}
    made = {each: datetime.fromisoformat(history.at(each)) for each in versions}
    cells.sort(key=lambda c: (made[c.consumer_version], made[c.provider_version]), reverse=True)
    return sorted(cells, key=lambda cell: (cell.consumer, cell.provider))


def _cell(
    history: GitHistory, store: Store, pact: Pact, consumer_version: str, provider_version: str
) -> Cell:
    found = store.result(pact.id, history.content(pact.provider, provider_version))
    return Cell(
        consumer=pact.consumer,
        consumer_version=consumer_version,
        provider=pact.provider,
        provider_version=provider_version,
        result=_said(found),
        interactions=len(found.outcomes) if found else 0,
        broken=_broken(found),
        at=found.at if found else None,
        by=found.by if found else "",
        log=found.log if found else "",
    )


def _said(result: Result | None) -> str:
    if result is None:
        return UNKNOWN
    if result.signature and not is_as_signed(result):
        return FORGED
    return HOLDS if result.held else BROKEN


def _broken(result: Result | None) -> list[str]:
    return (
        [f"{each.description}: {'; '.join(each.why)}" for each in result.broken] if result else []
    )


def show(matrix: Matrix) -> None:
    table = Table("consumer", "in", "provider", "in", "result", "when", "by", "log")
    for cell in matrix.cells:
        table.add_row(
            named(matrix, cell.consumer, cell.consumer_version),
            ", ".join(cell.consumer_in),
            named(matrix, cell.provider, cell.provider_version),
            ", ".join(cell.provider_in),
            _coloured(cell),
            f"{cell.at:%F %H:%M}" if cell.at else "",
            cell.by,
            cell.log,
        )
    print_table(table)
    for finding in matrix.findings:
        typer.echo(f"finding: {finding}")


def named(matrix: Matrix, application: str, version: str) -> str:
    """With the branches of which it was built, where that was recorded."""
    branches = ", ".join(matrix.branches.get(version, ()))
    return f"{application}@{version[:SHORT]}" + (f" of {branches}" if branches else "")


def _coloured(cell: Cell) -> str:
    colour = {HOLDS: "green", BROKEN: "red", UNKNOWN: "yellow", FORGED: "red"}[cell.result]
    many = f" ({cell.interactions})" if cell.interactions else ""
    return f"[{colour}]{cell.result}[/]{many}"
