"""What services promise and what each reads of others, as files that are written from the code."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from cbs.dev.folder import SERVICES
from cbs.dev.running.commands import CANNOT_SAY, DONE, NO
from cbs.release.commands import said_plainly
from cbs.release.gate import stores
from cbs.release.gate.broker import BrokerStore
from cbs.release.gate.history import PACTS, History, NoSuchVersion, pact_of
from cbs.release.gate.runner import Report
from cbs.release.gate.schemas import changes_between
from cbs.release.gate.selecting import Selection, selection, tell
from cbs.release.verifying.verification import Verified

ROOT = Path(__file__).parents[4]
WROTE_PACTS = "cbs.release.expecting.program"

app = typer.Typer(help="Contracts: written, held against the code, compared.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="For a program to read.")]


def described(service: str) -> dict[str, Any]:
    """Both documents of a service, as its own process prints them."""
    command = [sys.executable, "-m", f"cbs.{service}.main", "schema"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=_environment()).stdout
    documents: dict[str, Any] = json.loads(printed)
    return documents


def _environment() -> dict[str, str]:
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
        done = subprocess.run(argv, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            typer.echo(f"the pacts could not be written:\n{done.stderr}", err=True)
            raise typer.Exit(NO)
        return {Path(PACTS) / file.name: file.read_text() for file in sorted(place.iterdir())}


@app.command()
def write() -> None:
    """Write OpenAPI, AsyncAPI and all pacts to contracts/, afresh; what is no longer said goes."""
    _written(check=False)


@app.command()
def check() -> None:
    """Write nothing; exit 1 if a file in contracts/ is not what the code says."""
    _written(check=True)


def _written(*, check: bool) -> None:
    stale = []
    wanted: dict[Path, str] = {}
    for service in SERVICES:
        typer.echo(f"{service} …", err=True)
        wanted |= files_of(service, described(service))
    typer.echo("pacts …", err=True)
    wanted |= pacts()
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
def verify(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Only these services; all by default.")
    ] = None,
    branch: Annotated[
        list[str] | None,
        typer.Option(help="The pacts of another branch, too: they never fail this."),
    ] = None,
    from_pex: Annotated[
        Path | None,
        typer.Option("--from-pex", metavar="DIST", help="Verify the PEXes in DIST/cbs."),
    ] = None,
    broker: Annotated[
        bool,
        typer.Option(
            "--broker",
            help="What the Pact Broker selects, too: pacts of main and of the branch of this name,"
            " and of all that is deployed or released. It is told what came of it.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the providers of this work tree against their consumers' pacts; exit 1 if one breaks.

    A whole bank comes up for it, from this tree, and goes again. A pending interaction that does
    not hold is shown and breaks nothing.
    """
    if unknown := set(providers or ()) - set(SERVICES):
        raise typer.BadParameter(f"no such service: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as name, said_plainly():
        folder, wanted = Path(name), set(providers or SERVICES)
        files, wished = _pact_files(folder, wanted, branch or [])
        selected = _selected(folder, wanted, files) if broker else Selection((), ())
        wishes = [*wished, *selected.added(files, wished=True)]
        files += [*selected.added(files, wished=False), *wishes]
        if not files:
            typer.echo("no pact names these as provider: nothing was verified", err=True)
            raise typer.Exit(CANNOT_SAY)
        report = _verified(folder / "report.json", files, from_pex)
        if broker and not report.error:
            _tell(selected, dict(zip(files, report.verified, strict=True)))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        _show(report, len(wishes))
    binding = report.verified[: len(files) - len(wishes)]
    broken = report.error or not all(each.held for each in binding)
    raise typer.Exit(NO if broken else DONE)


def _store(history: History) -> BrokerStore:
    broker = stores.broker_of()
    return stores.brokered(broker, stores.own_folder(history.first()), pacts=history.pacts)


def _selected(folder: Path, providers: set[str], own: list[Path]) -> Selection:
    history = History(ROOT)
    return selection(_store(history), history, providers, own=own, folder=folder)


def _tell(selected: Selection, verified: dict[Path, Verified]) -> None:
    history = History(ROOT)
    typer.echo(tell(_store(history), history, selected, verified), err=True)


def _pact_files(
    folder: Path, providers: set[str], branches: list[str]
) -> tuple[list[Path], list[Path]]:
    """Files to verify, and those that are only wished for."""
    files = [
        file
        for file in sorted((ROOT / PACTS).glob("*.json"))
        if pact_of(file.read_bytes()).provider in providers
    ]
    known = {file.read_bytes() for file in files}
    history, wished = History(ROOT), []
    for branch in branches:
        try:
            others = history.pacts(history.sha(branch))
        except NoSuchVersion as error:
            raise typer.BadParameter(str(error)) from None
        for pact in others:
            if pact.provider in providers and pact.body not in known:
                file = folder / f"{branch.replace('/', '-')}-{pact.consumer}-{pact.provider}.json"
                file.write_bytes(pact.body)
                wished.append(file)
    return files, wished


def _verified(out: Path, files: list[Path], dist: Path | None) -> Report:
    argv = [sys.executable, "-P", "-m", "cbs.release.verifying.program", str(out)]
    if dist is not None:
        argv += ["--from-pex", str(dist)]
    done = subprocess.run([*argv, *map(str, files)], env=_environment(), check=False)
    if not out.exists():
        log = out.with_suffix(".log")
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        return Report(error=f"the verification ended with {done.returncode}: {said}")
    return msgspec.json.decode(out.read_bytes(), type=Report)


def _show(report: Report, wished: int) -> None:
    for n, each in enumerate(report.verified):
        only_wished = n >= len(report.verified) - wished
        held = sum(outcome.held for outcome in each.outcomes)
        word = "holds" if each.held_whole else "pending" if each.held or only_wished else "BROKEN"
        pair = f"{each.consumer} with {each.provider}"
        typer.echo(f"{word:8} {pair}: {held} of {len(each.outcomes)} interactions")
        for outcome in each.outcomes:
            if not outcome.held:
                typer.echo(f"         {outcome.description}: {'; '.join(outcome.why)}")
    if report.error:
        typer.echo(report.error, err=True)


@app.command("verify-at", hidden=True)
def verify_at(out: Path, pacts: list[Path]) -> None:
    """What another commit's gate calls when its packages are not this one's."""
    report = _verified(out, pacts, None)
    out.write_bytes(msgspec.json.encode(report))


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A commit, branch or tag.")] = "main",
    after: Annotated[str, typer.Argument(help="What became of it.")] = "HEAD",
    as_json: AsJson = False,
) -> None:
    """Show how OpenAPI and AsyncAPI changed between two versions; exit 1 if one change breaks."""
    history = History(ROOT)
    try:
        old, new = history.sha(before), history.sha(after)
    except NoSuchVersion as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT_SAY) from None
    found = {service: changes_between(history, service, old, new) for service in SERVICES}
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        for service, changes in found.items():
            for each in changes:
                word = "BREAKING" if each.breaking else "fine"
                typer.echo(f"{word:8}  {service}  {each.where}: {each.what}")
    breaking = any(each.breaking for changes in found.values() for each in changes)
    raise typer.Exit(NO if breaking else DONE)
