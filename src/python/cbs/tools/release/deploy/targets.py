"""Where releases go is named by the operator, or is the `cbs cluster dev` of the data folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbs.bank import SERVICES
from cbs.platform.http import VERSION
from cbs.tools.cluster import environments, rules
from cbs.tools.cluster.api import Api, NoCluster
from cbs.tools.cluster.jobs import assigned
from cbs.tools.cluster.laptop import Laptop, NotUp
from cbs.tools.local.folder import Folder
from cbs.tools.release.deploy.nomad import Nomad
from cbs.tools.release.deploy.nomad_api import NomadApi
from cbs.tools.release.deploy.releases import Release
from cbs.tools.release.deploy.routes import Routes
from cbs.tools.release.deploy.steps import CannotGoOn
from cbs.tools.release.gate.environments import CLUSTER, LAPTOP
from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.layout import needs_in

JOBS, ENVIRONMENTS = "nomad/jobs", "nomad/env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """`environment` names a file of nomad/env, `own` are values that count before it; `artifacts`
    is the folder that is served at `artifacts_url`."""

    nomad: Api
    consul: Api | None
    artifacts: Path
    artifacts_url: str
    environment: str
    own: Mapping[str, Any]

    def nomad_for(self, history: GitHistory, sha: str, *, percent: int) -> Nomad:
        """Job file and values as the commit has them, and the site's own. Raises CannotGoOn."""
        known = history.file(sha, f"{ENVIRONMENTS}/{self.environment}.hcl")
        if known is None and not self.own:
            raise CannotGoOn(
                f"{sha[:10]} has no {ENVIRONMENTS}/{self.environment}.hcl: name the environment's"
                " values in HCL with --values"
            )

        def text(release: Release) -> str:
            name = "service" if release.application in SERVICES else release.application
            found = history.file(release.version, f"{JOBS}/{name}.nomad.hcl")
            if found is None:
                raise CannotGoOn(f"{release} has no {JOBS}/{name}.nomad.hcl")
            return found.decode()

        needs = {each: needs_in(history.declaration(sha, each)) for each in SERVICES}
        values = environments.values((known or b"").decode(), self.own, needs)
        return Nomad(
            api=NomadApi(self.nomad),
            folder=self.artifacts,
            artifacts_url=self.artifacts_url,
            text=text,
            values=assigned(values),
            version_name=VERSION,
            images=values.get("images", {}),
            routes=Routes(consul=self.consul, percent=percent),
        )


def site(
    to: str, folder: Folder, *, artifacts: Path | None, artifacts_url: str, values: Path | None
) -> Site:
    """Raises CannotGoOn, with what to name or to start."""
    try:
        own = rules.read(values, {}) if values else {}
        if to == CLUSTER:
            return _of_the_laptop(Laptop.of(folder), own)
        if artifacts is None or not artifacts_url:
            raise CannotGoOn(
                f"name the folder whose files the nodes of {to} fetch, and where they do, in"
                f" --artifacts and --artifacts-url; the cluster of this machine is --to {CLUSTER}"
            )
        return Site(
            nomad=Api.of("nomad"),
            consul=Api.of("consul") if "CONSUL_HTTP_ADDR" in os.environ else None,
            artifacts=artifacts,
            artifacts_url=artifacts_url,
            environment=to,
            own=own,
        )
    except (OSError, ValueError) as error:
        raise CannotGoOn(f"the values cannot be read: {error}") from None
    except (NotUp, NoCluster) as error:
        raise CannotGoOn(str(error)) from None


def _of_the_laptop(laptop: Laptop, own: Mapping[str, Any]) -> Site:
    values = laptop.values | dict(own)
    return Site(
        nomad=laptop.api("nomad"),
        consul=laptop.api("consul"),
        artifacts=laptop.folder["artifacts"],
        artifacts_url=values["artifacts_url"],
        environment=LAPTOP,
        own=values,
    )
