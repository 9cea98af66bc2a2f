"""`cbs release deploy` and `rollback`: a release ends promoted, or as if it had not been."""

from datetime import datetime
from typing import Annotated

import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import DONE, NO, print_json
from cbs.tools.release.deploy.composition import Composition, one_at_a_time
from cbs.tools.release.deploy.options import Options, with_options
from cbs.tools.release.deploy.releases import (
    Installed,
    Journal,
    Release,
    ReleaseKind,
    ReleaseOutcome,
    ReleaseStep,
    left_behind,
    new_id,
    once_good,
)
from cbs.tools.release.deploy.steps import CannotGoOn
from cbs.tools.release.desk import (
    EXIT,
    ReleaseDesk,
    To,
    Version,
    cannot_say,
    check_application,
    check_environment,
    progress,
)
from cbs.tools.release.gate.history import SHORT, NoSuchVersion
from cbs.tools.release.gate.records import GateAnswer, now, operator

Service = Annotated[str, typer.Argument(help="A service, or gateway.")]
Back = Annotated[
    str | None,
    typer.Option("--version", help="A commit that ran there.", show_default="the last good one"),
]
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
        desk.check_known(to)
        with one_at_a_time(desk.place, to):
            release = _under_way(desk, service, to, resume or abort)
            sha = release.version if release else desk.history.sha(version)
            composition = options.composition(desk, to, sha)
            release = release or _new(composition, service, to, sha)
            _go_on(composition, release, abort, options.as_json)


@with_options
def rollback(service: Service, to: To, options: Options, version: Back = None) -> None:
    """Go back at once to what ran well before: no canary, no judge, and no load is needed.

    The very package that ran is started again, beside what is there, and takes over when it is
    ready. It is the last that nobody went back from and to which the gate does not say no, or the
    one of --version; migrations stay, an older version runs with them. Exit 0: it is there alone.
    1: there is no such, or it did not become ready, and what was there still is. 3: as of deploy.
    """
    _checked(service, to)
    with cannot_say(CannotGoOn):
        desk = options.desk()
        desk.check_known(to)
        with one_at_a_time(desk.place, to):
            _under_way(desk, service, to, False)
            wanted = None if version is None else desk.history.sha(version)
            composition = options.composition(desk, to, wanted or desk.history.sha("HEAD"))
            _go_on(composition, _back(composition, service, to, wanted), False, options.as_json)


def _back(composition: Composition, service: str, to: str, wanted: str | None) -> Release:
    """A release of what is to be brought back, known by its digest."""
    desk, target = composition.desk, composition.environment
    current = target.version(service)
    releases = Journal.of(desk.store).releases()
    left = left_behind(releases, service, to)
    for each in once_good(releases, service, to, target.known_good(service)):
        if each.version == current or (wanted is None and each.version in left):
            continue
        try:
            sha = desk.history.sha(each.version)
        except NoSuchVersion as error:
            progress(f"not {each.version or 'one that nobody named'}: {error}")
            continue
        if sha == (wanted or sha):
            release = _new(composition, service, to, sha, before=current, brings=each)
            if wanted or composition.emergency or _may_go_back(composition, release):
                return release
    named = f"as {wanted[:SHORT]} " if wanted else ""
    typer.echo(
        f"nothing is known that ran well {named}in {to} before and may be there again: deploy a"
        " version that mends it (./cbs release history has what was there)",
        err=True,
    )
    raise typer.Exit(NO)


def _may_go_back(composition: Composition, release: Release) -> bool:
    verdict = composition.verdict(release)
    for reason in verdict.reasons:
        if reason.answer is GateAnswer.NO:
            progress(f"not {release}: {reason.why}")
    return verdict.answer is not GateAnswer.NO


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
    before: str | None = None,
    brings: Installed | None = None,
) -> Release:
    """Of what is brought back, or of a new version."""
    at = now()
    if before is None:
        before = composition.environment.version(service)
    return Release(
        id=new_id(at),
        kind=ReleaseKind.ROLLBACK if brings else ReleaseKind.DEPLOY,
        application=service,
        version=sha,
        environment=to,
        before=before,
        committed=datetime.fromisoformat(composition.desk.history.at(sha)),
        at=at,
        by=operator(),
        emergency=composition.emergency,
        despite=composition.despite,
        pex_sha256=brings.sha256 if brings else "",
        artifact_url=brings.url if brings else "",
    )


def _go_on(composition: Composition, release: Release, abort: bool, as_json: bool) -> None:
    if abort:
        if release.entry(ReleaseStep.PROMOTE) is not None:
            raise CannotGoOn(
                f"{release} is being promoted: --resume, and then ./cbs release rollback"
            )
        release.aborted = f"aborted by {operator()} at {release.next}"
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
    if release.emergency:
        lines.append(f"          an emergency: {release.emergency}")
    if release.despite:
        lines.append(f"          despite violations: {release.despite}")
    if release.next is not None:
        lines.append(f"          at {release.next}: --resume, or --abort")
    return "\n".join([*lines, *(f"          {why}" for why in release.why)])
