"""A Consul and a Nomad of the tests' own, as `cbs cluster dev` starts them, without tasks."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from cbs.cluster import agents, binaries
from cbs.cluster.api import Api
from cbs.cluster.dev import DevCluster, sweep
from cbs.dev.folder import Folder
from cbs.dev.running.process import running
from cbs.dev.running.program import Program
from cbs.dev.running.supervisor import Supervisor


def found(tool: binaries.Tool) -> Path:
    """The program, if it is there without building it for minutes; else the test is skipped."""
    try:
        return binaries.find(tool, say=lambda _: None, build=False)
    except binaries.NoBinary as error:
        pytest.skip(str(error))


@dataclass(frozen=True, slots=True)
class Agents:
    folder: Folder
    ports: dict[str, int]
    consul: Api
    nomad: Api


def is_ready(program: Program) -> Callable[[], bool]:
    async def ask() -> bool:
        return await program.is_ready()

    return lambda: asyncio.run(ask())


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    consul, nomad = found(binaries.CONSUL), found(binaries.NOMAD)
    folder = Folder.at(tmp_path_factory.mktemp("cluster") / "bank")
    folder.found()
    supervisor = Supervisor.of(folder, Console(quiet=True))
    cluster = DevCluster(folder=folder, dist=folder.root, supervisor=supervisor)
    cluster.claim_ports()
    first = agents.consul(folder, consul, cluster.ports, {})
    second = agents.nomad(folder, nomad, cluster.ports, {})
    try:
        with running(first.argv, log=first.log, is_ready=is_ready(first), seconds=60):
            cluster.admit()
            with running(second.argv, log=second.log, is_ready=is_ready(second), seconds=60):
                cluster.node()
                yield Agents(folder, cluster.ports, cluster.api("consul"), cluster.api("nomad"))
    finally:
        cluster.release_ports()
        sweep(folder)
