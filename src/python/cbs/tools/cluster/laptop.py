"""The `cbs cluster dev` of a folder is known by what it left there: ports, tokens and values."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbs.tools.cluster import deployer
from cbs.tools.cluster.agents import MANAGEMENT
from cbs.tools.cluster.api import ADDRESSES, TOKENS, Api
from cbs.tools.cluster.jobs import Jobs
from cbs.tools.local import state
from cbs.tools.local.folder import Folder, write_whole

PORTS, VALUES = "cluster-ports.json", "cluster-values.json"


class NotUp(RuntimeError):
    """No `cbs cluster dev` is up in the folder; the message says how to have one."""


def default_folder(data: Path | None, root: Path) -> Folder:
    """A cluster's folder is not the one of `cbs up`: `.cbs-cluster` in the clone."""
    return Folder.at(data or root / ".cbs-cluster")


def ports_of(folder: Folder) -> dict[str, int]:
    """Of the cluster that is up in the folder; none if none is."""
    path = folder.root / PORTS
    if state.read(folder.state) is None or not path.exists():
        return {}
    return dict(json.loads(path.read_text()))


def ports_unless_named(folder: Folder) -> dict[str, int]:
    """Of the cluster that is up in the folder, unless the environment names another."""
    return {} if "NOMAD_ADDR" in os.environ else ports_of(folder)


def jobs_of(folder: Folder) -> Jobs:
    """Of the cluster that NOMAD_ADDR and CONSUL_HTTP_ADDR name, or that is up in the folder. Raises
    NoCluster."""
    if not (ports := ports_unless_named(folder)):
        consul = Api.of("consul") if "CONSUL_HTTP_ADDR" in os.environ else None
        return Jobs(nomad=Api.of("nomad"), consul=consul, values="")
    named = {}
    for name, token in MANAGEMENT.items():
        named[ADDRESSES[name]] = f"http://127.0.0.1:{ports[name]}"
        named[f"{TOKENS[name]}_FILE"] = str(folder.secret(token))
    return Jobs(nomad=Api.of("nomad", named), consul=Api.of("consul", named), values="")


def note(folder: Folder, values: Mapping[str, Any]) -> None:
    """Keep what the cluster's jobs are told beside their environment's file."""
    write_whole(folder.root / VALUES, json.dumps(values, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Laptop:
    """One that is up, as who deploys may ask it."""

    folder: Folder
    ports: Mapping[str, int]

    @classmethod
    def of(cls, folder: Folder) -> "Laptop":
        """Raises NotUp."""
        running, ports = state.read(folder.state), ports_of(folder)
        if running is None or not ports:
            raise NotUp(
                f"no cluster is up in {folder.root}: start one with ./cbs cluster dev --detach, and"
                " name its folder with --data (by default it is .cbs-cluster)"
            )
        if running.phase != "ready":
            raise NotUp(f"the cluster in {folder.root} is {running.phase}: wait until it is ready")
        return cls(folder, ports)

    def api(self, name: str) -> Api:
        """Nomad or Consul, with the deployer's token. Raises NotUp."""
        file = self.folder.secret(deployer.TOKENS[name])
        if not file.exists():
            raise NotUp(
                f"{file} is not there, the token of who deploys: ./cbs cluster up --env laptop"
                f" --data {self.folder.root} makes it"
            )
        return Api.at(name, f"http://127.0.0.1:{self.ports[name]}", file.read_text().strip())

    @property
    def values(self) -> dict[str, Any]:
        """Raises NotUp."""
        path = self.folder.root / VALUES
        if not path.exists():
            raise NotUp(f"{path} is not there: ./cbs down, and ./cbs cluster dev, make it")
        return dict(json.loads(path.read_text()))
