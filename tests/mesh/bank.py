"""A bank whose services are asked through sidecars, and whoever else would like to ask them."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cbs.bank import SERVICES
from cbs.tools.cluster.api import Api
from cbs.tools.local import state
from cbs.tools.local.folder import Folder

ANSWER_SECONDS_MAX, LISTENS = 10, "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    folder: Folder
    nomad: Api
    consul: Api

    def listed(self, service: str) -> list[tuple[str, int]]:
        """Where Consul says that a service's healthy instances are."""
        found = self.consul.get(f"/v1/health/service/cbs-{service}", passing="1")
        return [(each["Service"]["Address"], each["Service"]["Port"]) for each in found]

    def allocations(self, service: str) -> list[dict[str, Any]]:
        """Those that run, each whole."""
        found = self.nomad.get(f"/v1/job/cbs-{service}/allocations") or []
        running = [each["ID"] for each in found if each["ClientStatus"] == "running"]
        return [self.nomad.get(f"/v1/allocation/{each}") for each in running]

    def ask(self, path: str) -> tuple[int, str]:
        """Of the gateway, as a teller; its status, and the answer."""
        now = state.read(self.folder.state)
        assert now is not None
        token = (self.folder["tokens"] / "teller").read_text().strip()
        connection = http.client.HTTPConnection(
            now.edge_url.removeprefix("http://"), timeout=ANSWER_SECONDS_MAX
        )
        return _asked(connection, path, {"Authorization": f"Bearer {token}"})

    def certificate(self, name: str, folder: Path) -> Path:
        """The mesh's certificate of a service and its key, which only an administrator gets."""
        found = self.consul.get(f"/v1/agent/connect/ca/leaf/{name}")
        path = folder / f"{name}.pem"
        path.write_text(found["CertPEM"] + found["PrivateKeyPEM"])
        return path

    def everywhere(self) -> list[dict[str, Any]]:
        """The allocations of all services."""
        return [each for service in SERVICES for each in self.allocations(service)]

    def root(self) -> str:
        """The key that signs the mesh's certificates now, as they name it."""
        found = self.consul.get("/v1/agent/connect/ca/roots")
        (active,) = (each for each in found["Roots"] if each["Active"])
        return str(active["SigningKeyID"]).replace(":", "")

    def renew_root(self) -> None:
        """With a key of another's making."""
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        said = {"Provider": "consul", "Config": {"PrivateKey": key.decode()}}
        self.consul.put("/v1/connect/ca/configuration", said)

    def shown_by_the_gateway(self) -> x509.Certificate | None:
        """The certificate in its folder, if that is the one which its Envoy has in use."""
        (allocation,) = self.allocations("gateway")
        (path,) = self.folder["nomad"].glob(f"data/alloc/{allocation['ID']}/alloc/data/gateway")
        said = json.loads((path / "secret-own.json").read_text())["resources"][0]
        chain = said["tls_certificate"]["certificate_chain"]["inline_string"]
        found = x509.load_pem_x509_certificate(chain.encode())
        admin = http.client.HTTPConnection(
            *ports_of(allocation)["admin"], timeout=ANSWER_SECONDS_MAX
        )
        used = json.loads(_asked(admin, "/certs", {})[1])["certificates"]
        serials = {int(own["serial_number"], 16) for each in used for own in each["cert_chain"]}
        return found if serials == {found.serial_number} else None

    def intend(self, service: str, action: str) -> None:
        """Let the gateway, or nobody, ask a service."""
        sources = [{"Name": "cbs-gateway", "Action": action}]
        entry = {"Kind": "service-intentions", "Name": f"cbs-{service}", "Sources": sources}
        self.consul.put("/v1/config", entry)


def ports_of(allocation: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """By label."""
    ports = allocation["AllocatedResources"]["Shared"]["Ports"]
    return {each["Label"]: (each["HostIP"], each["Value"]) for each in ports}


def listened_at(program: Path) -> set[int]:
    """The TCP ports of the processes that run it."""
    running = [
        each for each in Path("/proc").glob("[0-9]*") if _leads(each / "exe") == str(program)
    ]
    sockets = {_leads(each) for process in running for each in (process / "fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(place.rpartition(":")[2], 16)
        for _, place, _, state, *_, inode in (row[:10] for row in rows)
        if state == LISTENS and f"socket:[{inode}]" in sockets
    }


def _leads(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def shown_by(place: tuple[str, int]) -> x509.Certificate:
    """The certificate that an instance has."""
    with (
        socket.create_connection(place, timeout=ANSWER_SECONDS_MAX) as connection,
        _trusting().wrap_socket(connection) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def root_of(certificate: x509.Certificate) -> str:
    """The key that signed it."""
    said = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    return (said.value.key_identifier or b"").hex()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def past_the_gateway(place: tuple[str, int], certificate: Path | None) -> tuple[int, str]:
    """What an instance answers to who has that certificate, or none. Raises OSError."""
    context = _trusting()
    if certificate is not None:
        context.load_cert_chain(certificate)
    connection = http.client.HTTPSConnection(*place, timeout=ANSWER_SECONDS_MAX, context=context)
    return _asked(connection, "/health/ready", {})


def _asked(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str]
) -> tuple[int, str]:
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Pretender(HTTPServer):
    """Answers everything, and counts who told it something."""

    asked = 0

    def handle_error(self, *_: object) -> None:
        """Whoever hangs up is right."""


class Answer(BaseHTTPRequestHandler):
    server: Pretender

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def pretending(certificate: Path) -> Iterator[Pretender]:
    """With another service's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Pretender(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
