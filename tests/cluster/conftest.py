"""A Consul and a Nomad of the tests' own, as `cbs cluster dev` starts them, without tasks."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from cbs.tools.cluster import agents, binaries, namespaces
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.dev_cluster import DevCluster
from cbs.tools.local.folder import Folder
from cbs.tools.local.orphans import sweep
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import running
from cbs.tools.local.program import Program
from cbs.tools.local.supervisor import Supervisor


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


@dataclass(frozen=True, slots=True)
class OwnVault:
    """In memory, with TLS, and a KV of version 2 at secret/; `environ` names it as an operator."""

    api: Api
    environ: dict[str, str]


@pytest.fixture(scope="session")
def own_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnVault | None]:
    """None where no Vault is installed: nothing here builds one."""
    named = os.environ.get("CBS_VAULT_BINARY") or shutil.which("vault") or shutil.which("bao")
    if named is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("vault")
    claim, token = choose(8200), str(uuid4())
    address = f"127.0.0.1:{claim.port}"
    (folder / "token").write_text(token)
    environ = {
        "VAULT_ADDR": f"https://{address}",
        "VAULT_CACERT": str(folder / "vault-ca.pem"),
        "VAULT_TOKEN_FILE": str(folder / "token"),
    }
    argv = [named, "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token"]
    with pytest.MonkeyPatch.context() as patch:
        for program in ("VAULT", "BAO"):
            patch.setenv(f"{program}_DEV_ROOT_TOKEN_ID", token)
            patch.setenv(f"{program}_DEV_LISTEN_ADDRESS", address)

        def asked() -> Api:
            return Api.of("vault", environ)

        def ready() -> bool:
            # It listens a moment before it has its token and its KV.
            try:
                return is_open(claim.port) and "secret/" in asked().get("/v1/sys/mounts")
            except (NoCluster, Declined):
                return False

        with running(argv, log=folder / "log", is_ready=ready, seconds=60):
            patch.undo()
            yield OwnVault(asked(), environ)
    claim.release()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, own_vault: OwnVault | None) -> Iterator[Agents]:
    """Nomad takes jobs with a `vault` block whether or not there is a Vault to start them with."""
    consul, nomad = found(binaries.CONSUL), found(binaries.NOMAD)
    folder = Folder.at(tmp_path_factory.mktemp("cluster") / "bank")
    folder.found()
    supervisor = Supervisor.of(folder, Console(quiet=True))
    cluster = DevCluster(folder=folder, dist=folder.root, supervisor=supervisor)
    cluster.claim_ports()
    first = agents.consul(folder, consul, cluster.ports, {})
    with pytest.MonkeyPatch.context() as patch:
        named = own_vault.environ if own_vault else {"VAULT_ADDR": "http://127.0.0.1:1"}
        for name, value in named.items():
            patch.setenv(name, value)
        second = agents.nomad(folder, nomad, cluster.ports, {})
    try:
        with running(first.argv, log=first.log, is_ready=is_ready(first), seconds=60):
            cluster.admit()
            with running(second.argv, log=second.log, is_ready=is_ready(second), seconds=60):
                cluster.node()
                for name in namespaces.DESCRIPTIONS:
                    cluster.api("nomad").put("/v1/namespace", {"Name": name})
                yield Agents(folder, cluster.ports, cluster.api("consul"), cluster.api("nomad"))
    finally:
        cluster.release_ports()
        sweep(folder)
