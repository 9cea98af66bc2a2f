"""One Consul and one Nomad agent on loopback, each with ACLs on and a token that may little."""

import asyncio
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbs.tools.cluster import mesh, vault
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.process import CannotStart, mortal
from cbs.tools.local.program import Program
from cbs.tools.local.waiting import wait_until

ADMIT_SECONDS_MAX = 30
DATACENTER, REGION, NODE = "dc1", "global", "cbs"
MANAGEMENT = {"consul": "consul-management.token", "nomad": "nomad-management.token"}
CONSUL_AGENT, NOMAD_AGENT = "consul-agent.token", "nomad-agent.token"
# Nomad and its allocations listen on their own range each, so that clusters do not meet.
DYNAMIC_PORTS, DYNAMIC_FROM, DYNAMIC_RANGES = 200, 20_000, 60
AUDIENCE, AUTH_METHOD = "consul.io", "nomad-workloads"
# A node would take another's containers for left behind, and end them, where both use one Docker.
# (In JSON Nomad reads what a plugin is told from lists alone: hashicorp/nomad#7981.)
DOCKER = [{"gc": [{"dangling_containers": [{"enabled": False}]}]}]
# Asking clouds where we run takes seconds, and with AWS_CA_BUNDLE set keeps Nomad from starting.
CLOUDS = "env_aws,env_gce,env_azure,env_digitalocean"


def token(folder: Folder, name: str) -> str:
    """A token of the folder's own making: Consul and Nomad take the secret they are told."""
    path = folder.secret(name)
    if not path.exists():
        write_whole(path, str(uuid.uuid4()))
    return path.read_text().strip()


def consul(
    folder: Folder, binary: Path, ports: Mapping[str, int], env: Mapping[str, str]
) -> Program:
    settings = {
        **consul_node(NODE, {"http": ports["consul"], "serf_lan": ports["consul-serf"]}),
        "server": True,
        "bootstrap_expect": 1,
        "performance": {"raft_multiplier": 1},
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "tokens": {
                "initial_management": token(folder, MANAGEMENT["consul"]),
                "agent": token(folder, CONSUL_AGENT),
            },
        },
    }
    settings["ports"]["server"] = ports["consul-rpc"]
    if mesh.PORT in ports:
        settings["ports"]["grpc"] = ports[mesh.PORT]
        settings["connect"] = {"enabled": True}
    return agent(folder, "consul", binary, settings, ports["consul"], env)


def consul_node(name: str, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "datacenter": DATACENTER,
        "node_name": name,
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {**ports, **dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1)},
        "disable_update_check": True,
    }


def nomad(
    folder: Folder, binary: Path, ports: Mapping[str, int], env: Mapping[str, str]
) -> Program:
    settings = {
        **nomad_node(folder, NODE, ports["nomad"], f"127.0.0.1:{ports['consul']}"),
        "region": REGION,
        "ports": {
            "http": ports["nomad"],
            "rpc": ports["nomad-rpc"],
            "serf": ports["nomad-serf"],
        },
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1},
    }
    return agent(folder, "nomad", binary, settings, ports["nomad"], env)


def nomad_node(folder: Folder, name: str, port: int, consul_address: str) -> dict[str, Any]:
    """What every node's agent is told: it runs tasks, and has a Consul agent of its own."""
    first = DYNAMIC_FROM + port % DYNAMIC_RANGES * DYNAMIC_PORTS
    identity = {"aud": [AUDIENCE], "ttl": "1h"}
    return {
        "name": name,
        "datacenter": DATACENTER,
        "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
        "bind_addr": "127.0.0.1",
        "disable_update_check": True,
        "acl": {"enabled": True},
        "client": {
            "enabled": True,
            "network_interface": "lo",
            "host_network": [{"loopback": {"cidr": "127.0.0.1/32"}}],
            "max_kill_timeout": "60s",
            "min_dynamic_port": first,
            "max_dynamic_port": first + DYNAMIC_PORTS - 1,
            "options": {"fingerprint.denylist": CLOUDS},
            # By default it ends NATS when its template has had no answer for some minutes.
            "template": {f"{each}_retry": {"attempts": 0} for each in ("consul", "nomad", "vault")},
        },
        "consul": {
            "address": consul_address,
            "token": token(folder, NOMAD_AGENT),
            "service_auth_method": AUTH_METHOD,
            "task_auth_method": AUTH_METHOD,
            "service_identity": identity,
            "task_identity": identity,
        },
        **_vault(os.environ),
        "plugin": [{"raw_exec": {"config": {"enabled": True}}}, {"docker": {"config": DOCKER}}],
    }


def _vault(environ: Mapping[str, str]) -> dict[str, Any]:
    """An operator's own, for jobs of an environment that says `vault`."""
    if "VAULT_ADDR" not in environ:
        return {}
    named = {
        "enabled": True,
        "address": environ["VAULT_ADDR"],
        "ca_file": environ.get("VAULT_CACERT", ""),
        "jwt_auth_backend_path": vault.AUTH_METHOD,
        "default_identity": {"aud": [vault.AUDIENCE], "ttl": "1h"},
    }
    return {"vault": named}


def agent(
    folder: Folder,
    name: str,
    binary: Path,
    settings: Mapping[str, Any],
    port: int,
    env: Mapping[str, str],
) -> Program:
    """As `name`, consul… or nomad…, with its data and settings in the folder of that name."""
    conf = folder[name] / "agent.json"
    whole = {**settings, "data_dir": str(conf.parent / "data")}
    write_whole(conf, json.dumps(whole, indent=1) + "\n")
    tool, option = ("consul", "-config-file") if name.startswith("consul") else ("nomad", "-config")
    api = Api.at(tool, f"http://127.0.0.1:{port}", "")

    async def ready() -> bool:
        return bool(await asyncio.to_thread(api.leader))

    return Program(
        name=name,
        argv=mortal([str(binary), "agent", option, str(conf)]),
        env=env,
        log=folder.log(name),
        is_ready=ready,
        port=port,
        stop_seconds_max=30,
    )


def admit(consul: Api, folder: Folder, policies: Mapping[str, str]) -> None:
    """Make the agents' tokens known to Consul: token file -> its policy's rules. Idempotent."""
    # A new Consul has a leader a moment before it knows its management token.
    secret = token(folder, MANAGEMENT["consul"])
    if not wait_until(lambda: _known(consul, secret), seconds=ADMIT_SECONDS_MAX):
        raise CannotStart("Consul does not know its management token: see its log")
    for file, rules in policies.items():
        name = file.removesuffix(".token")
        if consul.get(f"/v1/acl/policy/name/{name}") is None:
            consul.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        secret = token(folder, file)
        if not _known(consul, secret):
            said = {"SecretID": secret, "Description": name, "Policies": [{"Name": name}]}
            consul.put("/v1/acl/token", said)


def _known(consul: Api, secret: str) -> bool:
    try:
        return Api.at("consul", consul.url, secret).get("/v1/acl/token/self") is not None
    except NoCluster:
        return False


def bootstrap(nomad: Api, folder: Folder) -> None:
    """Give Nomad the management token that lies in the folder; no news if it has it."""
    try:
        nomad.post("/v1/acl/bootstrap", {"BootstrapSecret": token(folder, MANAGEMENT["nomad"])})
    except Declined as error:
        if "already" not in str(error):
            raise
