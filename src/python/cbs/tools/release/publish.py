"""Every build is recorded, whether its contracts changed or not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cbs.tools.local.command_line import AsJson, print_json
from cbs.tools.release.desk import ReleaseDesk, Repository, StorePlace, Version, cannot_say
from cbs.tools.release.gate import package
from cbs.tools.release.gate.environments import APPLICATIONS, OWN
from cbs.tools.release.gate.history import SHORT, GitHistory, Pact
from cbs.tools.release.gate.records import Build, log_link, now, operator


class Published(msgspec.Struct, kw_only=True):
    application: str
    version: str
    branch: str | None
    providers: list[str]
    pex_sha256: str = ""


def publish(
    version: Version = "HEAD",
    branch: Annotated[
        str | None,
        typer.Option(help="Its branch; the one that is checked out if it is HEAD, else none."),
    ] = None,
    dist: Annotated[Path, typer.Option(help="Where its packages are, if there are any.")] = Path(
        "dist"
    ),
    repository: Repository = None,
    store: StorePlace = None,
    as_json: AsJson = False,
) -> None:
    """Record a build in the gate's memory: each application's version, its branch and its package.

    A Pact Broker is given its pacts. CBS_RELEASE_LOG names where the run can be read.
    """
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        history = desk.history
        sha = history.sha(version)
        if branch is None and version == "HEAD":
            branch = history.branch()
        pexes = _pexes(history, sha, dist if dist.is_absolute() else history.root / dist)
        build = Build(version=sha, branch=branch or "", pexes=pexes, at=now(), by=operator())
        build.log = log_link()
        desk.store.note(build)
        done = _published(build, history.pacts(sha))
    if as_json:
        print_json(done)
        return
    for each in done:
        asked = ", ".join(each.providers) or "nobody"
        on = f" of {each.branch}" if each.branch else ""
        made = f", SHA-256 {each.pex_sha256}" if each.pex_sha256 else ""
        typer.echo(f"{each.application}@{sha[:SHORT]}{on} is known: asks {asked}{made}")


def _published(build: Build, pacts: Sequence[Pact]) -> list[Published]:
    return [
        Published(
            application=each,
            version=build.version,
            branch=build.branch or None,
            providers=[pact.provider for pact in pacts if pact.consumer == each],
            pex_sha256=build.pexes.get(each, ""),
        )
        for each in APPLICATIONS
    ]


def _pexes(history: GitHistory, sha: str, dist: Path) -> dict[str, str]:
    """Of the packages that are there, those that are the commit's."""
    found = {}
    for application in OWN:
        file = dist / "cbs" / f"{application}.pex"
        try:
            if file.exists():
                package.check(file, history, sha, application)
                found[application] = package.sha256_of(file)
        except package.NotOfCommit:
            continue
    return found
