"""A gateway as a process, Consul as a process, and stand-ins for services that can be slow."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cbs.gateway import main
from cbs.platform.child import mortal
from cbs.tools.local.health import get
from tests.signing import Signer


def ports(count: int) -> list[int]:
    """Free at this moment."""
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in free]


def eventually(holds, seconds: float = 20) -> float:
    """How long it took until `holds` held."""
    began = time.monotonic()
    while not (said := holds()):
        assert time.monotonic() < began + seconds, said
        time.sleep(0.02)
    return time.monotonic() - began


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        served: Any = self.server
        if self.path.startswith("/health"):
            self._answer(200 if served.well else 503, {})
            return
        served.asked_at = time.monotonic()
        if self.path.endswith("/slow"):
            time.sleep(1.5)
        self._answer(served.status, {"instance": served.name})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def _answer(self, status, said):
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    well, status, name, asked_at = True, 200, "", 0.0


@contextmanager
def serving(name: str) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.name = name
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Consul:
    """A server and agent of one, told by its HTTP API; it keeps its data when it is killed."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.port, *self.others = ports(5)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        rpc, lan, wan, grpc = self.others
        conf = {
            "server": True,
            "bootstrap_expect": 1,
            "data_dir": str(self.folder / "data"),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": True,
            "ports": {"http": self.port, "server": rpc, "serf_lan": lan, "serf_wan": wan}
            | {"dns": -1, "grpc": grpc, "grpc_tls": -1},
            "performance": {"raft_multiplier": 3},
        }
        (self.folder / "consul.json").write_text(json.dumps(conf))
        argv = [self.binary, "agent", "-config-file", str(self.folder / "consul.json")]
        with (self.folder / "consul.log").open("ab") as out:
            self.process = subprocess.Popen(mortal(argv), stdout=out, stderr=out)
        eventually(self.has_leader, 60)
        eventually(lambda: self.put("/v1/kv/started", "yes") == 200, 60)

    def has_leader(self) -> bool:
        status, leader = get(self.port, "/v1/status/leader")
        return status == 200 and leader != b'""'

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def put(self, path: str, said: object) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body = said if isinstance(said, str) else json.dumps(said)
        connection.request("PUT", path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    def register(self, server: Server, *, canary: bool = False) -> None:
        port = server.server_port
        check = {"HTTP": f"http://127.0.0.1:{port}/health/ready", "Interval": "200ms"}
        entry = {
            "Name": "cbs-ledger",
            "ID": server.name,
            "Address": "127.0.0.1",
            "Port": port,
            "Meta": {"version": "1.2", "sha": "abc", "canary": json.dumps(canary)},
            "Check": {**check, "Timeout": "10s"},
        }
        assert self.put("/v1/agent/service/register", entry) == 200

    def deregister(self, server: Server) -> None:
        assert self.put(f"/v1/agent/service/deregister/{server.name}", "") == 200


class Gateway:
    def __init__(self, folder: Path, **named: str) -> None:
        signer = Signer()
        self.token = signer.token("teller")
        self.port, self.admin_port, self.health_port = ports(3)
        self.log = folder / "gateway.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "CBS_HTTP_PORT": str(self.port),
            "CBS_ADMIN_PORT": str(self.admin_port),
            "CBS_HEALTH_PORT": str(self.health_port),
            "CBS_JWKS_FILE": str(signer.jwks(folder)),
            "CBS_GATEWAY_FOLDER": str(folder / "envoy"),
            **named,
        }

    @contextmanager
    def up(self) -> Iterator["Gateway"]:
        with self.log.open("ab") as out:
            argv = mortal([sys.executable, "-m", main.__name__, "serve"])
            self.process = subprocess.Popen(argv, env=self.environment, stdout=out, stderr=out)
        try:
            yield self
        finally:
            self.process.terminate()
            try:
                self.process.wait(40)
            finally:
                self.process.kill()

    def status(self) -> int:
        return get(self.health_port, "/health/ready", seconds=5)[0]

    def ask(
        self, path: str = "/v1/ledger/x", method: str = "GET", **headers: str
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = "{}" if method == "POST" else None
            headers |= {"Authorization": f"Bearer {self.token}"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()).get("instance", "")
        finally:
            connection.close()

    def served_by(self, name: str) -> bool:
        return self.ask() == (200, name)


class Load:
    """Clients that ask until the block ends; every other request changes something."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.answers = gateway, Counter[tuple[int, str]]()
        self._stop = threading.Event()

    def _client(self) -> None:
        lap = 0
        while not self._stop.is_set():
            lap += 1
            said = 0, "refused"
            with suppress(OSError, http.client.HTTPException):
                said = self.gateway.ask(method="POST" if lap % 2 else "GET")
            self.answers[said] += 1
            time.sleep(0.01)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._client) for _ in range(6)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    @property
    def failed(self) -> dict[tuple[int, str], int]:
        return {said: count for said, count in self.answers.items() if said[0] != 200}
