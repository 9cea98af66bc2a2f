"""What a release is told is spelled once, whichever command begins it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from cbs.tools.local.command_line import AsJson, Data
from cbs.tools.local.folder import Folder
from cbs.tools.release.deploy import judge, routes, watch
from cbs.tools.release.deploy.composition import Composition
from cbs.tools.release.deploy.targets import site
from cbs.tools.release.desk import Key, ReleaseDesk, Repository, Run, StorePlace
from cbs.tools.release.gate.environments import CLUSTER

Pex = Annotated[
    Path | None,
    typer.Option(
        help="A PEX of the version.",
        show_default="dist/cbs/<service>.pex if it is, else made of a clean checkout",
    ),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        envvar="CBS_RELEASE_ARTIFACTS",
        help="The folder from which artifacts are served.",
        show_default=f"that of --to {CLUSTER}",
    ),
]
ArtifactsUrl = Annotated[
    str,
    typer.Option(
        envvar="CBS_RELEASE_ARTIFACTS_URL",
        help="Where the nodes fetch from it.",
        show_default=f"that of --to {CLUSTER}",
    ),
]
Values = Annotated[
    Path | None,
    typer.Option(
        envvar="CBS_RELEASE_VALUES",
        help="The environment's values, in HCL; they count before nomad/env/<env>.hcl.",
    ),
]
Postgres = Annotated[
    str,
    typer.Option(
        envvar="CBS_RELEASE_POSTGRES_URL",
        help="The server with the bank's databases, for the judge of money; its password is in"
        " PGPASSFILE. Else the bank that is up in --data.",
    ),
]
Percent = Annotated[
    int,
    typer.Option(
        "--canary-percent",
        min=1,
        max=routes.PERCENT_MAX,
        help="The canary's share of the calls, over HTTP and on the bus, until it is judged.",
    ),
]
Emergency = Annotated[
    str,
    typer.Option(
        metavar="WHY",
        help="Why it cannot wait for the gate, or goes without its memory, which is away. The"
        " release is signed and told as such, and owes the gate's verdict.",
    ),
]
Despite = Annotated[
    str,
    typer.Option(
        "--despite-violations",
        metavar="WHY",
        help="Why it may begin although an invariant of the bank is violated already.",
    ),
]
Window = Annotated[float, typer.Option(min=1, help="Seconds for which a canary is watched.")]
Requests = Annotated[int, typer.Option(min=0, help="A canary with fewer is not judged.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Each field is an option."""

    pex: Pex = None
    artifacts: Artifacts = None
    artifacts_url: ArtifactsUrl = ""
    values: Values = None
    postgres: Postgres = ""
    canary_percent: Percent = routes.PERCENT
    window: Window = watch.WINDOW_SECONDS
    requests: Requests = judge.REQUESTS_MIN
    emergency: Emergency = ""
    despite: Despite = ""
    run: Run = True
    key: Key = None
    repository: Repository = None
    store: StorePlace = None
    data: Data = None
    as_json: AsJson = False

    def desk(self) -> ReleaseDesk:
        return ReleaseDesk.at(self.repository, self.store, even_away=bool(self.emergency))

    def composition(self, desk: ReleaseDesk, to: str, sha: str) -> Composition:
        """For a version in its environment. Raises CannotGoOn."""
        folder = Folder.at(self.data)
        place = site(
            to,
            folder,
            artifacts=self.artifacts,
            artifacts_url=self.artifacts_url,
            values=self.values,
        )
        return Composition(
            desk=desk,
            folder=folder,
            environment=place.nomad_for(desk.history, sha, percent=self.canary_percent),
            consul=place.consul,
            key=self.key,
            pex=self.pex,
            emergency=self.emergency,
            despite=self.despite,
            postgres=self.postgres,
            run=self.run,
            window_seconds=self.window,
            requests_min=self.requests,
        )


def with_options(act: Callable[..., None]) -> Callable[..., None]:
    """The command of `act`, which also takes each option of Options and hands them on in one."""
    own = [each for each in signature(act).parameters.values() if each.name != "options"]
    shared = [*signature(Options).parameters.values()]

    @wraps(act)
    def command(**said: Any) -> None:
        options = Options(**{each.name: said.pop(each.name) for each in shared})
        act(**said, options=options)

    named = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
    command.__signature__ = Signature(named)  # type: ignore[attr-defined]
    return command
