"""A cluster on this machine is two agents that we supervise; what they run ends before them."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.tools.cluster import agents, artifacts, binaries, environments, laptop, mesh, nodes, rules
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.apply import ClusterApply, admin_url_of
from cbs.tools.cluster.jobs import Jobs, NotConverged
from cbs.tools.local import pex_cache, secrets
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.parts import MARK
from cbs.tools.local.plan import PASSED_ON, SOURCE, version_of
from cbs.tools.local.ports import Claim, choose, is_open
from cbs.tools.local.postgres import without_user
from cbs.tools.local.process import CannotStart, mortal
from cbs.tools.local.program import Program
from cbs.tools.local.supervisor import Supervisor
from cbs.tools.local.waiting import wait_until
from cbs.tools.ops.backup.backup import repository_beside

USUAL_PORTS = {
    "edge": 8080,
    "postgres": 5432,
    "nats": 4222,
    "consul": 8500,
    "consul-rpc": 8300,
    "consul-serf": 8301,
    "nomad": 4646,
    "nomad-rpc": 4647,
    "nomad-serf": 4648,
    "artifacts": 8480,
}
NOBODY, NODE_SECONDS_MAX, STOP_SECONDS_MAX = 65534, 60, 90
PYTHONS = ("/usr/bin/python3.11", "/usr/local/bin/python3.11")
LAPTOP = "laptop"


class CannotHere(RuntimeError):
    """This machine, or this user on it, cannot run a cluster; the message says what to do."""


def python() -> str:
    """The Python that runs PEXes on this machine, as an ordinary user finds it."""
    for path in (*PYTHONS, shutil.which("python3.11") or ""):
        if path and Path(path).exists():
            return path
    raise CannotHere("the PEXes want Python 3.11: install it (Debian: apt install python3.11)")


def check_reachable(root: Path) -> None:
    """As root tasks run as nobody, who must get at the folder. Raises CannotHere."""
    closed = [str(path) for path in root.parents if path.exists() and not path.stat().st_mode & 1]
    if os.geteuid() == 0 and closed:
        raise CannotHere(
            f"tasks run as nobody, who may not enter {closed[-1]}: name another folder, such as"
            " --data /var/lib/cbs-cluster, or run this as an ordinary user"
        )


@dataclass(slots=True, kw_only=True)
class DevCluster:
    """Everything lies in the folder; `dist` has the PEXes. There are `clients` nodes. With `mesh`
    services are asked through sidecars; of one that is up its ports tell."""

    folder: Folder
    dist: Path
    supervisor: Supervisor
    clients: int = 1
    mesh: bool = False
    ports: dict[str, int] = field(default_factory=dict)
    _moved: bool = False
    _claims: list[Claim] = field(default_factory=list)

    def prepare(self) -> dict[str, Path]:
        """What can be known before anything runs. Raises CannotHere, NoArtifacts, NoBinary."""
        check_reachable(self.folder.root)
        python()
        say = self.supervisor.say
        found = {
            tool.name: binaries.find(tool, say=say) for tool in (binaries.CONSUL, binaries.NOMAD)
        }
        if self.mesh:
            mesh.place(self.folder, found["consul"])
        secrets.make_all(self.folder)
        if os.geteuid() == 0:
            # Nobody passes through to what is its own; what is not stays shut by its own mode.
            self.folder.root.chmod(0o711)
            for name in ("nomad", *(f"nomad-{n}" for n in nodes.numbers(self.clients))):
                self.folder[name].chmod(0o711)
                # A client makes it for itself alone, and then no task of nobody's starts there.
                (self.folder[name] / "data").mkdir(mode=0o711, exist_ok=True)
        backups = repository_beside(self.folder)
        backups.mkdir(mode=0o700, exist_ok=True)
        unpacked = pex_cache.make(self.folder["pex"])
        for path in (self.folder["postgres"], self.folder["nats"], *unpacked, backups):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
            else:
                path.chmod(0o700)
        self.claim_ports()
        return found

    def claim_ports(self) -> None:
        memory = self.folder.root / laptop.PORTS
        last = json.loads(memory.read_text()) if memory.exists() else {}
        wanted = USUAL_PORTS | nodes.usual_ports(self.clients)
        if self.mesh:
            wanted |= mesh.USUAL_PORTS
        for name, usual in wanted.items():
            claim = choose(*((last[name], usual) if name in last else (usual,)))
            self._claims.append(claim)
            self.ports[name] = claim.port
            self._moved |= last.get(name, claim.port) != claim.port
        write_whole(memory, json.dumps(self.ports, indent=1) + "\n")

    def release_ports(self) -> None:
        for claim in self._claims:
            claim.release()

    def api(self, name: str) -> Api:
        secret = agents.token(self.folder, agents.MANAGEMENT[name])
        return Api.at(name, f"http://127.0.0.1:{self.ports[name]}", secret)

    def cluster_apply(self, say: Callable[[str], None]) -> ClusterApply:
        index = artifacts.read(self.folder["artifacts"])
        place = f"127.0.0.1:{self.ports['postgres']}"
        return ClusterApply(
            consul=self.api("consul"),
            nomad=self.api("nomad"),
            environment=LAPTOP,
            folder=self.folder,
            artifacts=index,
            admin_url=admin_url_of(self.folder, {}, place),
            sha=os.environ.get("CBS_SHA") or version_of(SOURCE),
            own=self._own(place),
            replaces=True,
            say=say,
        )

    def _own(self, place: str) -> dict[str, Any]:
        root, values = os.geteuid() == 0, environments.kept(self.folder)
        # Several servers on one machine take ports that Nomad chooses, and Consul tells.
        alone = values.get("nats", {}).get("count", 1) == 1
        return {
            "backup_folder": str(repository_beside(self.folder)),
            "artifacts_url": f"http://127.0.0.1:{self.ports['artifacts']}",
            "consul_url": f"http://127.0.0.1:{self.ports['consul']}",
            "gateway_port": self.ports["edge"],
            "nats_folder": str(self.folder["nats"]),
            "nats_port": self.ports["nats"] if alone else 0,
            "nats_url": f"nats://127.0.0.1:{self.ports['nats']}" if alone else "",
            "pex_root": str(self.folder["pex"]),
            "postgres": place,
            "postgres_folder": str(self.folder["postgres"]),
            "postgres_port": self.ports["postgres"],
            "python": python(),
            "user": "nobody" if root else "",
            "uid": NOBODY if root else os.geteuid(),
            "gid": NOBODY if root else os.getegid(),
            **mesh.values(self.folder, self.ports),
            **values,
        }

    async def bring_up(self, found: dict[str, Path]) -> None:
        """Returns when the whole bank answers; raises what its apply does, and CannotStart."""
        folder, supervisor = self.folder, self.supervisor
        # What Nomad has in its environment, its tasks have: no path of this clone's Python.
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env[MARK] = str(folder.root)
        state = supervisor.state
        state.edge_url = f"http://127.0.0.1:{self.ports['edge']}"
        gathering = asyncio.to_thread(
            artifacts.gather, self.dist, folder["artifacts"], servers=True
        )
        await supervisor.waiting("artifacts gathered", _done(gathering))
        await supervisor.start(
            agents.consul(folder, found["consul"], self.ports, env), self._artifacts(env)
        )
        await supervisor.waiting("tokens", asyncio.to_thread(self.admit))
        await self._start_nodes(found, env)
        supervisor.leave = self.leave
        await supervisor.waiting("node", asyncio.to_thread(self.node))
        await supervisor.waiting("what was left running", asyncio.to_thread(self.stop_left))
        cluster_apply = self.cluster_apply(supervisor.say)
        state.postgres_url, state.sha = without_user(cluster_apply.admin_url), cluster_apply.sha
        laptop.note(folder, cluster_apply.own)
        await _done(asyncio.to_thread(cluster_apply.run))
        state.nats_url = ",".join(await asyncio.to_thread(self._urls, "nats"))
        # Where any port will do, only Consul knows which it is.
        (state.edge_url, *_) = await asyncio.to_thread(self._urls, "gateway", "http")

    def _urls(self, name: str, scheme: str = "nats") -> list[str]:
        found = self.api("consul").get(f"/v1/catalog/service/cbs-{name}") or []
        places = [f"{each['ServiceAddress']}:{each['ServicePort']}" for each in found]
        return [f"{scheme}://{place}" for place in places]

    async def _start_nodes(self, found: dict[str, Path], env: dict[str, str]) -> None:
        folder, ports, further = self.folder, self.ports, nodes.numbers(self.clients)
        consuls = [nodes.consul(folder, found["consul"], ports, env, n) for n in further]
        await self.supervisor.start(agents.nomad(folder, found["nomad"], ports, env), *consuls)
        nomads = [nodes.nomad(folder, found["nomad"], ports, env, n) for n in further]
        await self.supervisor.start(*nomads)

    def _artifacts(self, env: dict[str, str]) -> Program:
        port = self.ports["artifacts"]
        words = [str(self.folder["artifacts"]), str(port)]
        argv = [sys.executable, "-P", "-m", "cbs.tools.cluster.artifacts", *words]

        async def ready() -> bool:
            return is_open(port)

        return Program(
            name="artifacts",
            argv=mortal(argv),
            env=env | {"PYTHONPATH": str(SOURCE)},
            log=self.folder.log("artifacts"),
            is_ready=ready,
            port=port,
        )

    def admit(self) -> None:
        consul = self.api("consul")
        policies = rules.ROOT / "consul" / "policies"
        files = (agents.CONSUL_AGENT, agents.NOMAD_AGENT)
        agents.admit(
            consul,
            self.folder,
            {file: (policies / f"{file.removesuffix('.token')}.hcl").read_text() for file in files},
        )

    def node(self) -> None:
        """Nomad has its management token, and every node can run something."""
        nomad = self.api("nomad")
        agents.bootstrap(nomad, self.folder)

        def nodes() -> list[dict[str, Any]]:
            return nomad.get("/v1/nodes", resources="true") or []

        def are_able() -> bool:
            return sum(map(_able, nodes())) >= self.clients

        if not wait_until(are_able, seconds=NODE_SECONDS_MAX):
            raise CannotStart(
                f"of Nomad's nodes fewer than {self.clients} can run raw_exec: {nodes()}"
            )

    async def leave(self) -> None:
        """What Nomad runs is ended through Nomad: the services drain, PostgreSQL writes it all."""
        await asyncio.to_thread(self._stop_jobs)

    def stop_left(self) -> None:
        """A migration that was cut off is not gone on with behind our back: it is done anew. What a
        crash left at ports that others took since has nothing to go back to, as canaries have."""
        jobs = Jobs(nomad=self.api("nomad"), values="")
        left = jobs.ours(dispatched=True)
        if self._moved:
            jobs.stop_in_order(left, STOP_SECONDS_MAX)
        else:
            jobs.stop([each for each in left if "/" in each and jobs.runs(each)], STOP_SECONDS_MAX)

    def _stop_jobs(self) -> None:
        jobs = Jobs(nomad=self.api("nomad"), values="")
        say = self.supervisor.say
        try:
            jobs.stop_in_order(jobs.ours(dispatched=True), STOP_SECONDS_MAX)
        except (NoCluster, Declined, NotConverged) as error:
            say(f"not everything ended through Nomad ({error}): what is left is killed")


def _able(node: dict[str, Any]) -> bool:
    driver = node["Drivers"].get("raw_exec") or {}
    return bool(node["Status"] == "ready" and driver.get("Healthy") and "dc1" in node["Datacenter"])


async def _done(work: Any) -> None:
    await work
