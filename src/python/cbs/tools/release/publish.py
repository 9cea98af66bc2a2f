"""A Pact Broker hears of every commit of every application, whether its contracts changed or not:
a version that it does not know makes its every answer about it unknown.
"""

from typing import Annotated

import msgspec
import typer

from cbs.tools.local.command_line import AsJson, print_json
from cbs.tools.release.desk import ROOT, Repository, Version, cannot_say, progress
from cbs.tools.release.gate import stores
from cbs.tools.release.gate.environments import APPLICATIONS
from cbs.tools.release.gate.history import SHORT, GitHistory


class Published(msgspec.Struct, kw_only=True):
    application: str
    version: str
    branch: str | None
    providers: list[str]


def publish(
    version: Version = "HEAD",
    branch: Annotated[
        str | None,
        typer.Option(help="Its branch; the one that is checked out if it is HEAD, else none."),
    ] = None,
    repository: Repository = None,
    as_json: AsJson = False,
) -> None:
    """Publish a commit's pacts and every application's version to PACT_BROKER_BASE_URL."""
    with cannot_say():
        broker = stores.broker_of()
        history = GitHistory(repository or ROOT)
        sha = history.sha(version)
        if branch is None and version == "HEAD":
            branch = history.branch()
        pacts, done = history.pacts(sha), []
        for application in APPLICATIONS:
            progress(f"{application} …")
            own = [pact for pact in pacts if pact.consumer == application]
            broker.publish(application, sha, branch=branch, pacts=own)
            providers = [pact.provider for pact in own]
            done.append(
                Published(application=application, version=sha, branch=branch, providers=providers)
            )
    if as_json:
        print_json(done)
        return
    for each in done:
        asked = ", ".join(each.providers) or "nobody"
        on = f" of {each.branch}" if each.branch else ""
        typer.echo(f"{each.application}@{sha[:SHORT]}{on} is known: asks {asked}")
