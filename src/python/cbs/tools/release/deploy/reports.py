"""`cbs release history`, `diff` and `dora`: what was released, what would be, and how it goes."""

from typing import Annotated, Any

import msgspec
import typer

from cbs.tools.local.command_line import AsJson, Data, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.release.deploy import difference, dora
from cbs.tools.release.deploy.commands import Service, release_line
from cbs.tools.release.deploy.releases import Journal, Release, owing
from cbs.tools.release.desk import (
    ReleaseDesk,
    Repository,
    StorePlace,
    To,
    Version,
    cannot_say,
    check_application,
    check_environment,
)
from cbs.tools.release.gate import signatures
from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.records import now

OfService = Annotated[str | None, typer.Option("--service", help="Only of this one.")]
OfEnvironment = Annotated[str | None, typer.Option("--env", help="Only to this environment.")]


def history(
    service: OfService = None,
    environment: OfEnvironment = None,
    steps: Annotated[bool, typer.Option("--steps", help="Each step, with its times.")] = False,
    repository: Repository = None,
    store: StorePlace = None,
    as_json: AsJson = False,
) -> None:
    """Show every release, oldest first: what came of it and why, when, and who did it."""
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        found = _releases(desk, service, environment)
        said = (signatures.verified_verdict(each) for each in desk.store.verdicts())
        owe = [each.id for each in owing(found, [each for each in said if each is not None])]
    if as_json:
        print_json([{**with_outcome(each), "owes_verdict": each.id in owe} for each in found])
        return
    if not found:
        typer.echo("nothing was released yet: ./cbs release deploy SERVICE --to ENV")
    for each in found:
        typer.echo(release_line(each))
        if each.id in owe:
            typer.echo(
                "          owes the gate's verdict: ./cbs release can-i-deploy"
                f" {each.application} --version {each.version[:SHORT]} --to {each.environment}"
            )
        for entry in each.steps if steps else ():
            ended = f"{entry.ended:%T}" if entry.ended else "not yet"
            answer = entry.done.answer if entry.done else ""
            again = f", {entry.tries} times" if entry.tries > 1 else ""
            typer.echo(f"    {entry.step:10} {entry.began:%T} to {ended} {answer}{again}")
            for reason in entry.done.reasons if entry.done else ():
                typer.echo(f"               {reason.why}")


def diff(
    service: Service,
    to: To,
    version: Version = "HEAD",
    repository: Repository = None,
    store: StorePlace = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what a release would change: commits, contracts, migrations, against what is there."""
    check_application(service)
    check_environment(to)
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        desk.check_known(to)
        sha = desk.history.sha(version)
        there = desk.environment(to, None, Folder.at(data)).versions(service)
        found = [
            difference.difference(desk.history, service, to, before, sha)
            for before in there or [""]
        ]
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(difference.as_text(each) for each in found))


def metrics(
    environment: Annotated[str, typer.Option("--env", help="Of this environment.")] = "prod",
    days: Annotated[float, typer.Option(min=0.01, help="Up to now.")] = 30,
    repository: Repository = None,
    store: StorePlace = None,
    as_json: AsJson = False,
) -> None:
    """Compute the four keys of delivery from the releases."""
    with cannot_say():
        releases = _releases(ReleaseDesk.at(repository, store), None, environment)
    found = dora.figures(releases, environment, until=now(), days=days)
    if as_json:
        print_json(found)
    else:
        typer.echo(dora.as_text(found))


metrics.__doc__ = f"{metrics.__doc__}\n\n{dora.DEFINITIONS}".replace("\n", "\n\n")


def _releases(desk: ReleaseDesk, service: str | None, environment: str | None) -> list[Release]:
    return [
        each
        for each in Journal.of(desk.store).releases()
        if service in (None, each.application) and environment in (None, each.environment)
    ]


def with_outcome(release: Release) -> dict[str, Any]:
    """With what follows from its steps."""
    follows = {"outcome": release.outcome, "next": release.next, "why": release.why}
    return {**msgspec.to_builtins(release), **follows, "ended": release.ended}
