"""The gateway as a process, without Consul: fixed places, a folder, its end and Envoy's."""

import json
import os
import signal
import threading
import time
from pathlib import Path

from cbs.bank import SERVICES
from cbs.platform.child import started
from cbs.platform.registry import FolderRegistry, Instance
from tests.gateway.bank import Gateway, eventually, serving


def envoy_of(gateway):
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children")
    return int(children.read_text().split()[0])


def upstreams(server):
    return json.dumps({service: f"127.0.0.1:{server.server_port}" for service in SERVICES})


def test_fixed_places_need_no_registry_and_what_is_under_way_ends_before_it_does(tmp_path):
    with serving("one") as server, Gateway(tmp_path, CBS_UPSTREAMS=upstreams(server)).up() as it:
        eventually(lambda: it.status() == 200)
        eventually(lambda: it.served_by("one"))
        answers = []
        slow = threading.Thread(target=lambda: answers.append(it.ask("/v1/ledger/slow", "POST")))
        slow.start()
        time.sleep(0.3)
        it.process.send_signal(signal.SIGTERM)
        eventually(lambda: it.status() == 503)
        slow.join()

        assert it.process.wait(30) == 0
        assert answers == [(200, "one")]


def test_neither_outlives_the_other(tmp_path):
    with serving("one") as server:
        gateway = Gateway(tmp_path, CBS_UPSTREAMS=upstreams(server))
        with gateway.up():
            eventually(lambda: gateway.status() == 200)
            os.kill(envoy_of(gateway), signal.SIGKILL)
            assert gateway.process.wait(10) == 1
        with gateway.up():
            eventually(lambda: gateway.status() == 200)
            envoy = envoy_of(gateway)
            gateway.process.kill()
            gateway.process.wait()
            eventually(lambda: not started(envoy))


def test_a_folder_is_followed_by_the_same_process(tmp_path):
    registry = FolderRegistry(tmp_path / "registry")
    gateway = Gateway(tmp_path, CBS_REGISTRY_FOLDER=str(registry.folder))
    with serving("one") as server, gateway.up():
        eventually(lambda: gateway.status() == 200)
        one = Instance(
            service="ledger",
            instance="one",
            host="127.0.0.1",
            port=server.server_port,
            pid=os.getpid(),
        )
        registry.join(one)
        assert eventually(lambda: gateway.served_by("one")) < 5
        registry.leave(one)
        eventually(lambda: gateway.ask()[0] == 503)


def test_it_is_not_ready_before_the_registry_answered(tmp_path):
    with Gateway(tmp_path, CBS_CONSUL_URL="http://127.0.0.1:1").up() as gateway:
        eventually(lambda: gateway.status() == 503)
        time.sleep(1)
        assert gateway.status() == 503
