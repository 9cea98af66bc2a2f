"""`cbs release deploy` and `rollback`: a release ends promoted, or as if it had not been."""

import getpass
from datetime import datetime
from typing import Annotated

import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import DONE, NO, print_json
from cbs.tools.release.commands import (
    EXIT,
    ReleaseDesk,
    To,
    Version,
    cannot_say,
    check_application,
    check_environment,
    progress,
)
from cbs.tools.release.deploy.composition import Composition, last_good, one_at_a_time
from cbs.tools.release.deploy.options import Options, with_options
from cbs.tools.release.deploy.releases import (
    Journal,
    Release,
    ReleaseKind,
    ReleaseOutcome,
    ReleaseStep,
    new_id,
    promoted,
)
from cbs.tools.release.deploy.steps import CannotGoOn
from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.records import GateAnswer, now

Service = Annotated[str, typer.Argument(help="A service, or gateway.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the release under way.")]
Abort = Annotated[bool, typer.Option("--abort", help="Take the release under way back.")]


@with_options
def deploy(
    service: Service,
    to: To,
    options: Options,
    version: Version = "HEAD",
    resume: Resume = False,
    abort: Abort = False,
) -> None:
    """Release a version: package, gate, artifact, migrations, canary, judge, promote or revert.

    It may be interrupted at any moment, and goes on there with --resume. Exit 0: promoted. 1: no,
    and what was there is there alone. 3: it cannot be said, or goes on with --resume. To the
    `cbs cluster dev` of --data it goes by --to laptop-cluster, and needs to be told nothing else.
    """
    _checked(service, to)
    if resume and abort:
        raise typer.BadParameter("--resume and --abort say opposite things")
    with cannot_say(CannotGoOn):
        desk = options.desk()
        with one_at_a_time(desk.place, to):
            release = _under_way(desk, service, to, resume or abort)
            sha = release.version if release else desk.history.sha(version)
            composition = options.composition(desk, to, sha)
            release = release or _new(composition, service, to, sha)
            _go_on(composition, release, abort=abort, as_json=options.as_json)


@with_options
def rollback(service: Service, to: To, options: Options) -> None:
    """Release the last good version to which the gate still says yes, by the same steps.

    Exit codes as of deploy, and --resume and --abort are given to deploy. 1 if there is no such.
    """
    _checked(service, to)
    with cannot_say(CannotGoOn):
        desk = options.desk()
        with one_at_a_time(desk.place, to):
            _under_way(desk, service, to, False)
            earlier = promoted(Journal.of(desk.store).releases(), service, to)
            sha = earlier[0].version if earlier else desk.history.sha("HEAD")
            composition = options.composition(desk, to, sha)
            good = _good(composition, earlier, composition.environment.version(service))
            release = _new(composition, service, to, good, kind=ReleaseKind.ROLLBACK)
            _go_on(composition, release, abort=False, as_json=options.as_json)


def _good(composition: Composition, earlier: list[Release], current: str) -> str:
    good = last_good(earlier, lambda each: _still_may(composition, each), current)
    if good is None:
        typer.echo(
            "no earlier version is known to which the gate says yes: deploy a version that mends it"
            " (./cbs release history has what was there)",
            err=True,
        )
        raise typer.Exit(NO)
    return good.version


def _still_may(composition: Composition, release: Release) -> bool:
    verdict = composition.verdict(release)
    progress(f"{release}: the gate says {verdict.answer}")
    for reason in verdict.reasons:
        if reason.answer is not GateAnswer.YES:
            progress(f"  {reason.answer:8} {reason.why}")
    return verdict.answer is GateAnswer.YES


def _checked(service: str, to: str) -> None:
    check_application(service)
    check_environment(to)
    if service not in (*SERVICES, "gateway"):
        raise typer.BadParameter(f"{service} is a client, and is deployed by whoever runs it")


def _under_way(desk: ReleaseDesk, service: str, to: str, wanted: bool) -> Release | None:
    """The one that waits to be gone on with; raises CannotGoOn if that is not what is wanted."""
    release = Journal.of(desk.store).under_way(to)
    if release is not None and (not wanted or release.application != service):
        raise CannotGoOn(
            f"{release} is under way, at {release.next}: ./cbs release deploy"
            f" {release.application} --to {to} --resume goes on with it, --abort takes it back"
        )
    if release is None and wanted:
        raise CannotGoOn(f"no release of {service} to {to} is under way")
    return release


def _new(
    composition: Composition,
    service: str,
    to: str,
    sha: str,
    *,
    kind: ReleaseKind = ReleaseKind.DEPLOY,
) -> Release:
    at = now()
    return Release(
        id=new_id(at),
        kind=kind,
        application=service,
        version=sha,
        environment=to,
        before=composition.environment.version(service),
        committed=datetime.fromisoformat(composition.desk.history.at(sha)),
        at=at,
        by=getpass.getuser(),
    )


def _go_on(composition: Composition, release: Release, *, abort: bool, as_json: bool) -> None:
    if abort:
        if release.entry(ReleaseStep.PROMOTE) is not None:
            raise CannotGoOn(
                f"{release} is being promoted: --resume, and then ./cbs release rollback"
            )
        release.aborted = f"aborted by {getpass.getuser()} at {release.next}"
    try:
        composition.deploying().run(release)
    except KeyboardInterrupt:
        raise CannotGoOn(
            f"{release} is interrupted at {release.next}: go on with --resume, or take it back with"
            " --abort"
        ) from None
    if as_json:
        print_json(release)
    else:
        typer.echo(release_line(release))
    raise typer.Exit(DONE if release.outcome is ReleaseOutcome.PROMOTED else EXIT[release.answer])


def release_line(release: Release) -> str:
    """A release in a line, and under it what stopped it."""
    before = f" (was {release.before[:SHORT]})" if release.before else ""
    lines = [
        f"{release.outcome.upper():9} {release.kind} {release}{before}, {release.at:%F %T}, by"
        f" {release.by}"
    ]
    if release.next is not None:
        lines.append(f"          at {release.next}: --resume, or --abort")
    return "\n".join([*lines, *(f"          {why}" for why in release.why)])
