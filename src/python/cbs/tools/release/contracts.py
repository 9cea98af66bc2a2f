"""What services promise and what each reads of others, as files that are written from the code."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, ends_with, print_json
from cbs.tools.local.process import output_of
from cbs.tools.release.gate.history import PACTS, GitHistory, NoSuchVersion
from cbs.tools.release.gate.schemas import changes_between
from cbs.tools.release.tables import all_written

ROOT = Path(__file__).parents[5]
WROTE_PACTS = "cbs.tools.release.pacts.program"

app = typer.Typer(help="Contracts: written, held against the code, compared.", no_args_is_help=True)


def described(service: str) -> dict[str, Any]:
    """Both documents of a service, as its own process prints them."""
    command = [sys.executable, "-m", f"cbs.{service}.main", "schema"]
    documents: dict[str, Any] = json.loads(output_of(command, env=environment()))
    return documents


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src" / "python")}


def files_of(service: str, documents: dict[str, Any]) -> dict[Path, str]:
    """Where each document lies below the root, and its bytes as text."""
    return {
        Path("contracts") / kind / f"{service}.json": json.dumps(document, indent=2, sort_keys=True)
        + "\n"
        for kind, document in documents.items()
    }


def pacts() -> dict[Path, str]:
    """Every pact, written afresh by a process of its own: pact writes to standard output."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "pacts"
        argv = [sys.executable, "-P", "-m", WROTE_PACTS, str(place)]
        with ends_with(NO, OSError, saying="the pacts could not be written: "):
            output_of(argv, env=environment())
        return {Path(PACTS) / file.name: file.read_text() for file in sorted(place.iterdir())}


@app.command()
def write() -> None:
    """Write contracts/ afresh (OpenAPI, AsyncAPI, pacts), and the columns of each tables.py."""
    _written(check=False)


@app.command()
def check() -> None:
    """Write nothing; exit 1 if a file that `write` would write is not what the code says."""
    _written(check=True)


def _written(*, check: bool) -> None:
    stale = []
    wanted: dict[Path, str] = {}
    for service in SERVICES:
        typer.echo(f"{service} …", err=True)
        wanted |= files_of(service, described(service))
    typer.echo("pacts …", err=True)
    wanted |= pacts()
    typer.echo("tables …", err=True)
    wanted |= {file.relative_to(ROOT): text for file, text in all_written(SERVICES).items()}
    for place, text in wanted.items():
        file = ROOT / place
        if not file.exists() or file.read_text() != text:
            stale.append(place)
            if not check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    for file in sorted((ROOT / PACTS).glob("*.json")):
        if (place := file.relative_to(ROOT)) not in wanted:
            stale.append(place)
            if not check:
                file.unlink()
    for place in stale:
        typer.echo(f"{'not as the code' if check else 'written'}: {place}")
    raise typer.Exit(NO if check and stale else DONE)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A commit, branch or tag.")] = "main",
    after: Annotated[str, typer.Argument(help="What became of it.")] = "HEAD",
    as_json: AsJson = False,
) -> None:
    """Show how OpenAPI and AsyncAPI changed between two versions; exit 1 if one change breaks."""
    history = GitHistory(ROOT)
    with ends_with(CANNOT_SAY, NoSuchVersion):
        old, new = history.sha(before), history.sha(after)
    found = {service: changes_between(history, service, old, new) for service in SERVICES}
    if as_json:
        print_json(found)
    else:
        for service, changes in found.items():
            for each in changes:
                word = "BREAKING" if each.breaking else "fine"
                typer.echo(f"{word:8}  {service}  {each.where}: {each.what}")
    breaking = any(each.breaking for changes in found.values() for each in changes)
    raise typer.Exit(NO if breaking else DONE)
