"""Where the gateway finds services is said once: a registry's folder, Consul, or fixed places."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cbs.bank import SERVICES
from cbs.gateway.places import Place
from cbs.platform.settings import Misconfigured, load


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`CBS_<NAME>` in the environment. `admin_port` is Envoy's own and stays on loopback.

    `health_port` answers /health/live and /health/ready, apart from the public port, which then
    needs no path that asks for no token. With `mesh_name`, which is the gateway's own in Consul's
    mesh, services are asked by TLS with certificates of the mesh on both sides. `upstreams` is a
    JSON object, service to "host:port".
    """

    http_host: str = "127.0.0.1"
    http_port: int
    admin_port: int
    health_port: int
    jwks_file: Path
    gateway_folder: Path
    registry_folder: Path | None = None
    consul_url: str = ""
    consul_token_file: Path | None = None
    mesh_name: str = ""
    upstreams: str = ""
    log_level: str = "info"

    def fixed(self) -> dict[str, Place]:
        """The fixed place of each service, none if a registry is followed; raises Misconfigured."""
        if not self.upstreams:
            return {}
        try:
            named = msgspec.json.decode(self.upstreams, type=dict[str, str])
            places = {service: _place(text) for service, text in named.items()}
        except ValueError as error:
            raise Misconfigured(f"CBS_UPSTREAMS: {error}: say service to host:port") from None
        if odd := set(places) ^ set(SERVICES):
            raise Misconfigured(
                f"CBS_UPSTREAMS has too many or too few of: {', '.join(sorted(odd))}"
            )
        return places


def settings_of(environ: Mapping[str, str] = os.environ) -> GatewaySettings:
    """Raises Misconfigured, also where more or less than one way to services is named."""
    settings = load(GatewaySettings, environ)
    named = [settings.registry_folder, settings.consul_url, settings.upstreams]
    if len([each for each in named if each]) != 1:
        raise Misconfigured(
            "name one of CBS_REGISTRY_FOLDER, CBS_CONSUL_URL and CBS_UPSTREAMS in the environment"
        )
    if settings.mesh_name and not settings.consul_url:
        raise Misconfigured("CBS_MESH_NAME wants CBS_CONSUL_URL, from which certificates come")
    settings.fixed()
    return settings


def _place(text: str) -> Place:
    host, _, port = text.rpartition(":")
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"{port} is no port")
    return Place(str(ipaddress.ip_address(host.strip("[]"))), int(port))
