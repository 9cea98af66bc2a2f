"""Where a service is told to Envoy in a file that is replaced; canaries get their share by weight.

A canary's share is a promise to everybody else's requests, so the weights make it exact: they are
whole numbers whose sums are as the percentages, however many instances either side has.
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cbs.gateway.envoy import ENVOY, address
from cbs.platform.files import write_whole
from cbs.platform.registry import FolderRegistry, Instance

CANARY_WEIGHT_PERCENT = 10


class Place(NamedTuple):
    host: str
    port: int
    weight: int = 1


def endpoints(registry: Path, service: str) -> list[Place]:
    """Each instance that says in the registry folder that it is ready, in order."""
    return weighed(FolderRegistry(registry).living(service), canary_percent=0)


def weighed(found: Iterable[Instance], *, canary_percent: int) -> list[Place]:
    """Places whose canaries together get `canary_percent` of the requests.

    Where every instance is a canary there is nobody to share with, and they get all, unless they
    were to get nothing. An address that is no IP address is left out: Envoy takes no names here.
    """
    assert 0 <= canary_percent <= 100, canary_percent
    listed = [each for each in found if is_address(each.host)]
    canaries = {(each.host, each.port) for each in listed if each.canary}
    stable = {(each.host, each.port) for each in listed} - canaries
    if not stable:
        return [Place(*each) for each in sorted(canaries)] if canary_percent else []
    if not canaries:
        return [Place(*each) for each in sorted(stable)]
    weights = dict.fromkeys(stable, len(canaries) * (100 - canary_percent))
    weights |= dict.fromkeys(canaries, len(stable) * canary_percent)
    return [Place(*each, weight) for each, weight in sorted(weights.items()) if weight]


def write_endpoints(edge: Path, service: str, found: Sequence[Place]) -> None:
    """Tell Envoy where a service is; it watches for the file being replaced."""
    assignment = {
        "@type": ENVOY + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": service,
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {"address": address(place.host, place.port)},
                        "load_balancing_weight": place.weight,
                    }
                    for place in found
                ]
            }
        ],
    }
    text = json.dumps({"version_info": str(hash(tuple(found))), "resources": [assignment]})
    write_whole(edge / f"{service}.json", text)


def routed(clusters: str) -> frozenset[str]:
    """The services for which Envoy knows an instance, from what its admin port says of clusters."""
    found = (line.split("::") for line in clusters.splitlines())
    return frozenset(part[0] for part in found if len(part) > 2 and ":" in part[1])


def is_address(host: str) -> bool:
    """Whether Envoy takes it in an endpoint: a name it does not."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
