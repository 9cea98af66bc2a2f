"""A further node on this machine is a Consul and a Nomad agent of its own, as on any other machine.

Two Nomad clients at one Consul agent would each sign off what the other signed on.
"""

from collections.abc import Mapping
from pathlib import Path

from cbs.tools.cluster import agents
from cbs.tools.local.folder import Folder
from cbs.tools.local.program import Program

# Above the ranges of the first ports, so that `--clients` does not move them.
USUAL_PORTS = {"consul": 8600, "consul-serf": 8700, "nomad": 4746}


def usual_ports(clients: int) -> dict[str, int]:
    """The ports of all nodes but the first, by which they are remembered."""
    return {
        f"{part}-{number}": port + number
        for number in numbers(clients)
        for part, port in USUAL_PORTS.items()
    }


def numbers(clients: int) -> range:
    return range(2, clients + 1)


def consul(
    folder: Folder, binary: Path, ports: Mapping[str, int], env: Mapping[str, str], number: int
) -> Program:
    name = f"consul-{number}"
    own = {"http": ports[name], "serf_lan": ports[f"consul-serf-{number}"]}
    settings = {
        **agents.consul_node(_named(number), own),
        "retry_join": [f"127.0.0.1:{ports['consul-serf']}"],
        "retry_interval": "1s",
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "tokens": {"agent": agents.token(folder, agents.CONSUL_AGENT)},
        },
    }
    return agents.agent(folder, name, binary, settings, ports[name], env)


def nomad(
    folder: Folder, binary: Path, ports: Mapping[str, int], env: Mapping[str, str], number: int
) -> Program:
    """Ports that the first node's jobs have for good are not this one's to give: it is one lo."""
    name = f"nomad-{number}"
    settings = agents.nomad_node(
        folder, _named(number), ports[name], f"127.0.0.1:{ports[f'consul-{number}']}"
    )
    taken = ",".join(str(ports[part]) for part in ("edge", "nats", "postgres"))
    settings |= {
        "region": agents.REGION,
        "ports": {"http": ports[name]},
        "client": settings["client"]
        | {
            "servers": [f"127.0.0.1:{ports['nomad-rpc']}"],
            "reserved": {"reserved_ports": taken},
        },
    }
    return agents.agent(folder, name, binary, settings, ports[name], env)


def _named(number: int) -> str:
    return f"{agents.NODE}-{number}"
