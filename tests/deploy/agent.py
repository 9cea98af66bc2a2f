"""One real Nomad agent on loopback, and a program to release on it that is as good as told."""

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from cbs.platform.child import mortal
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.namespaces import DESCRIPTIONS
from cbs.tools.local.folder import Folder
from cbs.tools.local.orphans import sweep
from cbs.tools.local.parts import MARK

START_SECONDS_MAX = 120
CLOUDS = "env_aws,env_gce,env_azure,env_digitalocean"

# Its counters grow by themselves: a hundred requests a second.
PROGRAM = """
import http.server, os, sys, time
BEGAN = time.monotonic()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        many = int(100 * (time.monotonic() - BEGAN))
        errors = int(many * {errors})
        text = (
            'cbs_requests_total{{protocol="http",operation="x",outcome="200"}} %d\\n'
            'cbs_requests_total{{protocol="http",operation="x",outcome="500"}} %d\\n'
            % (many - errors, errors)
        )
        ready = self.path != "/health/ready" or {ready}
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *args):
        pass
address = ("127.0.0.1", int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""

JOB = """
variable "service" { type = string }
variable "artifact_url" { type = string }
variable "artifact_sha256" { type = string }
variable "version" { type = string }
variable "sha" { type = string }
variable "python" { type = string }

job "service" {
  id          = "cbs-${var.service}"
  name        = "cbs-${var.service}"
  datacenters = ["dc1"]
  update {
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "1s"
    healthy_deadline  = "120s"
    progress_deadline = "180s"
    auto_revert       = true
  }
  group "service" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "2m"
      unlimited      = true
    }
    network {
      port "http" {}
    }
    service {
      name     = "cbs-${var.service}"
      provider = "nomad"
      port     = "http"
      check {
        type     = "http"
        path     = "/health/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }
    task "service" {
      driver = "raw_exec"
      artifact {
        source      = var.artifact_url
        destination = "local/program"
        mode        = "file"
        options {
          checksum = "sha256:${var.artifact_sha256}"
          archive  = "false"
        }
      }
      config {
        command = var.python
        args    = ["${NOMAD_TASK_DIR}/program"]
      }
      env {
        PORT = "${NOMAD_PORT_http}"
      }
      resources {
        cpu    = 20
        memory = 60
      }
    }
  }
}
"""


def program(file: Path, *, ready: bool = True, errors: float = 0.0, note: str = "") -> Path:
    file.write_text(f"# {note}\n" + PROGRAM.format(ready=ready, errors=errors))
    return file


def _free_ports(many: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def agent(nomad: str, folder: Path) -> Iterator[str]:
    """Its URL, once it leads and its node is ready; all that it started ends with it."""
    http_port, rpc, serf = _free_ports(3)
    conf = folder / "agent.json"
    settings = {
        "data_dir": str(folder / "data"),
        "bind_addr": "127.0.0.1",
        "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
        "ports": {"http": http_port, "rpc": rpc, "serf": serf},
        "disable_update_check": True,
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 2},
        "client": {
            "enabled": True,
            "network_interface": "lo",
            "options": {"fingerprint.denylist": CLOUDS},
        },
        "plugin": [{"raw_exec": {"config": {"enabled": True}}}],
    }
    conf.write_text(json.dumps(settings))
    environment = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    # Tasks have it, too: by it they are found, whatever became of Nomad.
    environment[MARK] = str(folder)
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            mortal([nomad, "agent", "-config", str(conf)]), stdout=log, stderr=log, env=environment
        )
    url = f"http://127.0.0.1:{http_port}"
    try:
        _wait(url, process)
        api = Api.at("nomad", url, "")
        for name in DESCRIPTIONS:
            api.put("/v1/namespace", {"Name": name})
        yield url
        for job in api.get("/v1/jobs"):
            api.ask("DELETE", f"/v1/job/{job['ID']}")
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            until = time.monotonic() + 30
            while time.monotonic() < until and _running(client):
                time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Nomad leaves what it mounted for the secrets of its tasks; nobody could remove the folder.
        sweep(Folder(folder))
        assert str(folder) not in Path("/proc/self/mounts").read_text()


def _running(client: httpx.Client) -> bool:
    allocs = client.get("/v1/allocations?namespace=*").json()
    return any(each["ClientStatus"] in ("running", "pending") for each in allocs)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        while time.monotonic() < until:
            assert process.poll() is None, f"nomad ended with {process.returncode}"
            try:
                nodes = client.get("/v1/nodes")
                if nodes.is_success and any(n["Status"] == "ready" for n in nodes.json()):
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
    raise AssertionError(f"nomad is not ready after {START_SECONDS_MAX} s")


@contextmanager
def telling(answers: Mapping[str, Any]) -> Iterator[str]:
    """A Nomad that answers these paths, knows no other, and takes nothing."""

    class Tells(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(b"" if found is None else json.dumps(found).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tells) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
