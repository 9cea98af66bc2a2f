"""One Consul and one Nomad agent on loopback, each with ACLs on and a token that may little."""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbs.cluster.api import Api, Declined, NoCluster
from cbs.dev.folder import Folder, write_whole
from cbs.dev.running.process import CannotStart, mortal
from cbs.dev.running.program import Program

ADMIT_SECONDS_MAX, POLL_SECONDS = 30, 0.2
DATACENTER, REGION, NODE = "dc1", "global", "cbs"
MANAGEMENT = {"consul": "consul-management.token", "nomad": "nomad-management.token"}
CONSUL_AGENT, NOMAD_AGENT = "consul-agent.token", "nomad-agent.token"
# Nomad and its allocations listen on their own range each, so that clusters do not meet.
DYNAMIC_PORTS, DYNAMIC_FROM, DYNAMIC_RANGES = 200, 20_000, 60
AUDIENCE, AUTH_METHOD = "consul.io", "nomad-workloads"
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
    conf = folder["consul"] / "agent.json"
    settings = {
        "datacenter": DATACENTER,
        "node_name": NODE,
        "server": True,
        "bootstrap_expect": 1,
        "data_dir": str(conf.parent / "data"),
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {
            "http": ports["consul"],
            "serf_lan": ports["consul-serf"],
            "server": ports["consul-rpc"],
            **dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1),
        },
        "disable_update_check": True,
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
    write_whole(conf, json.dumps(settings, indent=1) + "\n")
    api = Api.at("consul", f"http://127.0.0.1:{ports['consul']}", "")
    return _agent(folder, "consul", [str(binary), "agent", "-config-file", str(conf)], api, env)


def nomad(
    folder: Folder, binary: Path, ports: Mapping[str, int], env: Mapping[str, str]
) -> Program:
    conf = folder["nomad"] / "agent.json"
    data = conf.parent / "data"
    first = DYNAMIC_FROM + ports["nomad"] % DYNAMIC_RANGES * DYNAMIC_PORTS
    identity = {"aud": [AUDIENCE], "ttl": "1h"}
    settings: dict[str, Any] = {
        "name": NODE,
        "region": REGION,
        "datacenter": DATACENTER,
        "data_dir": str(data),
        "bind_addr": "127.0.0.1",
        "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
        "ports": {
            "http": ports["nomad"],
            "rpc": ports["nomad-rpc"],
            "serf": ports["nomad-serf"],
        },
        "disable_update_check": True,
        "acl": {"enabled": True},
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1},
        "client": {
            "enabled": True,
            "network_interface": "lo",
            "max_kill_timeout": "60s",
            "min_dynamic_port": first,
            "max_dynamic_port": first + DYNAMIC_PORTS - 1,
            "options": {"fingerprint.denylist": CLOUDS},
            # By default it ends NATS when its template has had no answer for some minutes.
            "template": {each: {"attempts": 0} for each in ("consul_retry", "nomad_retry")},
        },
        "consul": {
            "address": f"127.0.0.1:{ports['consul']}",
            "token": token(folder, NOMAD_AGENT),
            "service_auth_method": AUTH_METHOD,
            "task_auth_method": AUTH_METHOD,
            "service_identity": identity,
            "task_identity": identity,
        },
        "plugin": [{"raw_exec": {"config": {"enabled": True}}}],
    }
    write_whole(conf, json.dumps(settings, indent=1) + "\n")
    api = Api.at("nomad", f"http://127.0.0.1:{ports['nomad']}", "")
    return _agent(folder, "nomad", [str(binary), "agent", "-config", str(conf)], api, env)


def _agent(folder: Folder, name: str, argv: list[str], api: Api, env: Mapping[str, str]) -> Program:
    async def ready() -> bool:
        return bool(await asyncio.to_thread(api.leader))

    return Program(
        name=name,
        argv=mortal(argv),
        env=env,
        log=folder.log(name),
        is_ready=ready,
        port=int(api.url.rpartition(":")[2]),
        stop_seconds_max=30,
    )


def admit(consul: Api, folder: Folder, policies: Mapping[str, str]) -> None:
    """Make the agents' tokens known to Consul: token file -> its policy's rules. Idempotent."""
    # A new Consul has a leader a moment before it knows its management token.
    deadline = time.monotonic() + ADMIT_SECONDS_MAX
    while not _known(consul, token(folder, MANAGEMENT["consul"])):
        if time.monotonic() > deadline:
            raise CannotStart("Consul does not know its management token: see its log")
        time.sleep(POLL_SECONDS)
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
