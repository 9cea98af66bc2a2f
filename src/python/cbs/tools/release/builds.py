"""A provider's build: the bank of this tree is held against what its consumers ask of it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, Data, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.release.contracts import ROOT, environment
from cbs.tools.release.desk import Key, ReleaseDesk, StorePlace, cannot_say, operators_key
from cbs.tools.release.gate import stores
from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.history import PACTS, GitHistory, NoSuchVersion, Pact, pact_of
from cbs.tools.release.gate.selectors import Selection, publish_results, selection
from cbs.tools.release.gate.signatures import read_key
from cbs.tools.release.provider_verification.report import VerificationReport, Verified

Providers = Annotated[list[str] | None, typer.Argument(help="Only these services; all by default.")]
Branches = Annotated[
    list[str] | None, typer.Option(help="The pacts of another branch, too: they never fail this.")
]
DeployedIn = Annotated[
    list[str] | None,
    typer.Option(help="The pacts of what is deployed in an environment, too: they bind."),
]
Main = Annotated[
    str | None,
    typer.Option(help="The pacts of the branch that all others go into, too: they bind."),
]
FromPex = Annotated[
    Path | None, typer.Option("--from-pex", metavar="DIST", help="Verify the PEXes in DIST/cbs.")
]
Broker = Annotated[
    bool,
    typer.Option(
        "--broker",
        help="What the Pact Broker selects, too: pacts of main and of the branch of this name,"
        " and of all that is deployed or released. It is told what came of it.",
    ),
]


def verify(
    providers: Providers = None,
    branch: Branches = None,
    main: Main = None,
    deployed_in: DeployedIn = None,
    from_pex: FromPex = None,
    store: StorePlace = None,
    data: Data = None,
    broker: Broker = False,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Hold the providers of this work tree against their consumers' pacts; exit 1 if one breaks.

    A whole bank comes up for it, from this tree, and goes again. A pending interaction that does
    not hold is shown and breaks nothing.
    """
    if unknown := set(providers or ()) - set(SERVICES):
        raise typer.BadParameter(f"no such service: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as name, cannot_say():
        folder, wanted = Path(name), set(providers or SERVICES)
        there = _deployed(store, deployed_in or [], Folder.at(data)) + _of_branch(main)
        files, wished = _pact_files(folder, wanted, there, branch or [])
        selected = _selected(folder, wanted, files) if broker else Selection((), ())
        wishes = [*wished, *selected.added(files, wished=True)]
        files += [*selected.added(files, wished=False), *wishes]
        if not files:
            typer.echo("no pact names these as provider: nothing was verified", err=True)
            raise typer.Exit(CANNOT_SAY)
        report = _verified_apart(folder, files, from_pex)
        if broker and not report.error:
            _tell(selected, dict(zip(files, report.verified, strict=True)), key)
    if as_json:
        print_json(report)
    else:
        _show(report, len(wishes))
    binding = report.verified[: len(files) - len(wishes)]
    broken = report.error or not all(each.held for each in binding)
    raise typer.Exit(NO if broken else DONE)


def _deployed(store: str | None, names: list[str], folder: Folder) -> list[Pact]:
    """The pacts of every application as it is deployed in these environments."""
    if not names:
        return []
    desk = ReleaseDesk.at(ROOT, store)
    for name in names:
        desk.check_known(name)
    found = [there for name in names for there in desk.environment(name, None, folder).there]
    return [
        pact
        for there in found
        for pact in desk.history.pacts(there.version)
        if pact.consumer == there.application
    ]


def _store(history: GitHistory) -> BrokerStore:
    broker = stores.broker_of()
    return stores.brokered(broker, stores.own_folder(history.first()), pacts=history.pacts)


def _selected(folder: Path, providers: set[str], own: list[Path]) -> Selection:
    history = GitHistory(ROOT)
    return selection(_store(history), history, providers, own=own, folder=folder)


def _tell(selected: Selection, verified: dict[Path, Verified], key: Path | None) -> None:
    history = GitHistory(ROOT)
    own = read_key(operators_key(key, stores.own_folder(history.first())))
    typer.echo(publish_results(_store(history), history, selected, verified, own), err=True)


def _pact_files(
    folder: Path, providers: set[str], deployed: list[Pact], branches: list[str]
) -> tuple[list[Path], list[Path]]:
    """Files to verify, and those that are only wished for."""
    files = [
        file
        for file in sorted((ROOT / PACTS).glob("*.json"))
        if pact_of(file.read_bytes()).provider in providers
    ]
    known = {file.read_bytes() for file in files}
    for pact in deployed:
        if pact.provider in providers and pact.body not in known:
            known.add(pact.body)
            file = folder / f"deployed-{len(known)}-{pact.consumer}-{pact.provider}.json"
            file.write_bytes(pact.body)
            files.append(file)
    wished = []
    for branch in branches:
        for pact in _of_branch(branch):
            if pact.provider in providers and pact.body not in known:
                file = folder / f"{branch.replace('/', '-')}-{pact.consumer}-{pact.provider}.json"
                file.write_bytes(pact.body)
                wished.append(file)
    return files, wished


def _of_branch(branch: str | None) -> list[Pact]:
    history = GitHistory(ROOT)
    try:
        return history.pacts(history.sha(branch)) if branch else []
    except NoSuchVersion as error:
        raise typer.BadParameter(str(error)) from None


def banks(files: Iterable[Path]) -> list[list[Path]]:
    """Files that can share a bank. Two pacts of one pair ask under the same keys: the second would
    be told that its keys were used."""
    found: list[dict[tuple[str, str], Path]] = []
    for file in files:
        pact = pact_of(file.read_bytes())
        pair = (pact.consumer, pact.provider)
        bank = next((each for each in found if pair not in each), None)
        if bank is None:
            found.append(bank := {})
        bank[pair] = file
    return [list(each.values()) for each in found]


def _verified_apart(folder: Path, files: list[Path], dist: Path | None) -> VerificationReport:
    """Of all files, in their order."""
    found: dict[Path, Verified] = {}
    for n, some in enumerate(banks(files)):
        report = _verified(folder / f"report-{n}.json", some, dist)
        if report.error:
            return report
        found |= zip(some, report.verified, strict=True)
    return VerificationReport(verified=[found[file] for file in files])


def _verified(
    out: Path,
    files: list[Path],
    dist: Path | None,
    tree: Path | None = None,
    states: Path | None = None,
) -> VerificationReport:
    argv = [sys.executable, "-P", "-m", "cbs.tools.release.provider_verification.program", str(out)]
    if dist is not None:
        argv += ["--from-pex", str(dist)]
    if tree is not None:
        argv += ["--tree", str(tree)]
    if states is not None:
        argv += ["--states", str(states)]
    done = subprocess.run([*argv, *map(str, files)], env=environment(), check=False)
    if not out.exists():
        log = out.with_suffix(".log")
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        return VerificationReport(error=f"the verification ended with {done.returncode}: {said}")
    return msgspec.json.decode(out.read_bytes(), type=VerificationReport)


def _show(report: VerificationReport, wished: int) -> None:
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


def verify_at(
    out: Path, pacts: list[Path], tree: Path | None = None, states: Path | None = None
) -> None:
    """What another commit's gate calls when its packages are not this one's."""
    report = _verified(out, pacts, None, tree, states)
    out.write_bytes(msgspec.json.encode(report))
