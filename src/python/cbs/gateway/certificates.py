"""In the mesh whoever answers is believed by certificate alone, and so is the gateway that asks.

Consul makes and renews them; Envoy reads them from files that are replaced. Who somebody is lies in
the last part of a certificate's URI; the rest is the same for all of the mesh.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from cbs.bank import SERVICES
from cbs.gateway.envoy import ENVOY, OWN, secret_file
from cbs.platform.consul import Certificate, Consul
from cbs.platform.files import write_whole

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Certificates:
    """Keeps the files of the gateway's certificate, and of whom it believes."""

    consul: Consul
    name: str
    folder: Path
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _certificate: Certificate | None = None
    _roots: str = ""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow_certificate())
            both.create_task(self._follow_roots())

    async def _follow_certificate(self) -> None:
        async for found in self.consul.follow_certificate(self.name):
            self._certificate = found
            self._tell()

    async def _follow_roots(self) -> None:
        async for found in self.consul.follow_roots():
            self._roots = found
            self._tell()

    def _tell(self) -> None:
        if self._certificate is None or not self._roots:
            return
        for name, secret in secrets(self._certificate, self._roots).items():
            said = {"@type": ENVOY + "extensions.transport_sockets.tls.v3.Secret", "name": name}
            write_whole(secret_file(self.folder, name), json.dumps({"resources": [said | secret]}))
        log.info("certificates", of=self._certificate.uri)
        self.answered.set()


def secrets(certificate: Certificate, roots: str) -> dict[str, dict[str, Any]]:
    """By name, as Envoy knows them: OWN, and a service's for whom to believe there."""
    prefix, _, _ = certificate.uri.rpartition("/")
    own = {
        "tls_certificate": {
            "certificate_chain": {"inline_string": certificate.chain},
            "private_key": {"inline_string": certificate.key},
        }
    }
    return {OWN: own} | {
        service: {
            "validation_context": {
                "trusted_ca": {"inline_string": roots},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": f"{prefix}/cbs-{service}"}}
                ],
            }
        }
        for service in SERVICES
    }
