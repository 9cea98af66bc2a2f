"""The gateway behind the real Consul, before stand-ins for a service that come and go."""

import signal
import threading
import time
from contextlib import ExitStack

import pytest

from cbs.tools.cluster import binaries
from tests.gateway.bank import Consul, Gateway, Load, eventually, serving

pytestmark = pytest.mark.timeout(180)
# The bank promises two; a machine that is busy with other tests may add to them.
NEW_SECONDS_MAX = 2.0 + 4.0


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    try:
        binary = binaries.find(binaries.CONSUL, say=lambda _: None, build=False)
    except binaries.NoBinary as error:
        pytest.skip(str(error))
    consul = Consul(str(binary), tmp_path_factory.mktemp("consul"))
    try:
        consul.start()
        yield consul
    finally:
        consul.kill()


@pytest.fixture(scope="module")
def gateway(consul, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(folder, CBS_CONSUL_URL=f"http://127.0.0.1:{consul.port}").up() as gateway:
        eventually(lambda: gateway.status() == 200)
        yield gateway


@pytest.fixture
def bank(consul, gateway):
    """`bank(name)` starts an instance and registers it; all of them leave at the end."""
    with ExitStack() as leaving:

        def start(name, *, canary=False, register=True):
            server = leaving.enter_context(serving(name))
            if register:
                consul.register(server, canary=canary)
                leaving.callback(consul.deregister, server)
            return server

        yield start
    # An empty list is believed late when Consul was away just before.
    eventually(lambda: gateway.ask()[0] == 503, 60)


def test_who_passes_its_check_is_asked_soon(bank, consul, gateway):
    server = bank("one", register=False)
    server.well = False
    consul.register(server)
    time.sleep(1)
    assert gateway.ask()[0] == 503

    server.well = True
    assert eventually(lambda: gateway.served_by("one")) < NEW_SECONDS_MAX

    consul.deregister(server)


def test_who_left_is_asked_no_more_and_ends_what_it_began(bank, consul, gateway):
    bank("stays")
    eventually(lambda: gateway.served_by("stays"))
    leaves = bank("leaves", register=False)
    consul.register(leaves)
    eventually(lambda: gateway.served_by("leaves"))
    answers = []
    slow = [
        threading.Thread(target=lambda: answers.append(gateway.ask("/v1/ledger/slow", "POST")))
        for _ in range(8)
    ]
    for each in slow:
        each.start()
    time.sleep(0.3)
    consul.deregister(leaves)
    left_at = time.monotonic()
    time.sleep(1)
    for _ in range(200):
        assert gateway.ask() == (200, "stays")
    for each in slow:
        each.join()

    assert leaves.asked_at < left_at + 1
    assert {status for status, _ in answers} == {200}
    assert "leaves" in {name for _, name in answers}


def test_no_request_fails_while_instances_come_and_go(bank, consul, gateway):
    bank("stays")
    eventually(lambda: gateway.served_by("stays"))
    with Load(gateway) as load:
        for lap in range(6):
            with serving(f"guest-{lap}") as guest:
                consul.register(guest)
                eventually(lambda guest=guest: load.answers[200, guest.name] > 20)
                consul.deregister(guest)
                time.sleep(0.6)  # as a service drains before it stops listening

    assert load.failed == {}
    assert sum(load.answers.values()) > 500


@pytest.mark.parametrize("percent", [5, 10])
def test_canaries_together_get_their_share(bank, consul, gateway, percent):
    if percent != 10:
        consul.put("/v1/kv/cbs/routes/ledger/canary-percent", str(percent))
    for name, canary in (("a", False), ("b", False), ("c", False), ("x", True), ("y", True)):
        bank(name, canary=canary)
    seen: set[str] = set()

    def all_seen():
        seen.add(gateway.ask()[1])
        return seen >= {"a", "b", "c", "x", "y"}

    eventually(all_seen)
    asked = 2000
    to_canaries = sum(gateway.ask()[1] in ("x", "y") for _ in range(asked))
    consul.put("/v1/kv/cbs/routes/ledger/canary-percent", "10")

    # Weighted round robin deals exactly. Were each request drawn by lot, its count would lie
    # within five standard deviations but once in a million runs.
    spread = 5 * (asked * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(to_canaries - asked * percent / 100) < spread, to_canaries


def test_a_canary_that_fails_at_once_does_not_draw_the_traffic(bank, gateway):
    bank("slow-but-good")
    eventually(lambda: gateway.served_by("slow-but-good"))
    bad = bank("bad", canary=True)
    eventually(lambda: gateway.served_by("bad"))
    bad.status = 500
    with Load(gateway) as load:
        eventually(lambda: sum(load.answers.values()) > 1500, 60)

    total = sum(load.answers.values())
    # Its share is 10 %. Where others work, too, the good one's check may fail for a moment.
    assert load.answers[500, "bad"] < total * 0.2
    assert set(load.failed) == {(500, "bad")}


@pytest.mark.parametrize("status", [500, 503])
def test_what_a_canary_cannot_answer_another_does_if_once_is_enough(bank, gateway, status):
    bank("good")
    eventually(lambda: gateway.served_by("good"))
    bad = bank("bad", canary=True)
    eventually(lambda: gateway.served_by("bad"))
    bad.status = status
    keyed = {"Idempotency-Key": "the-same-each-time"}
    for _ in range(60):
        assert gateway.ask() == (200, "good")
        assert gateway.ask(method="POST", **keyed) == (200, "good")

    # Nobody knows what a second one would do.
    statuses = {gateway.ask(method="POST")[0] for _ in range(60)}
    assert statuses == {200, status}


def test_what_consul_said_last_holds_while_it_stands_still(bank, consul, gateway):
    bank("stays")
    eventually(lambda: gateway.served_by("stays"))
    consul.send(signal.SIGSTOP)
    try:
        with Load(gateway) as load:
            time.sleep(3)
    finally:
        consul.send(signal.SIGCONT)

    assert load.failed == {}
    assert gateway.status() == 200


def test_what_consul_said_last_holds_while_it_is_killed_and_starts_again(bank, consul, gateway):
    bank("stays")
    eventually(lambda: gateway.served_by("stays"))
    with Load(gateway) as load:
        consul.kill()
        time.sleep(2)
        consul.start()
        time.sleep(2)
        bank("comes")
        # A Consul that has just come back may choose its leader again.
        eventually(lambda: load.answers[200, "comes"], 60)

    assert load.failed == {}
