"""The whole bank in Consul's mesh: who has no certificate, or another's, is not answered."""

import json
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cbs.bank import SERVICES
from tests.cluster.clone import Operator, operating
from tests.mesh.bank import (
    Bank,
    listened_at,
    past_the_gateway,
    ports_of,
    pretending,
    root_of,
    shown_by,
)

VALUES = Path(__file__).parent / "values.hcl"
# The bank promises two; a machine that is busy with other tests may add to them.
HEARD_SECONDS_MAX = 2.0 + 4.0
SECONDS_MAX, POLL_SECONDS, IN_A_ROW = 120, 0.02, 200
SHOWN = ("mesh", "ready", "metrics")
PRODUCTS, TRANSACTIONS = "/v1/accounts/products", "/v1/ledger/transactions/none"
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("CBS_TEST_NIGHT") != "1",
        reason="the night has time for it: CBS_TEST_NIGHT=1",
    ),
]


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    with operating() as operator:
        operator.cbs("cluster", "dev", "--detach", "--mesh", "--values", str(VALUES))
        yield operator


@pytest.fixture
def bank(operator: Operator) -> Bank:
    return Bank(folder=operator.folder, nomad=operator.api("nomad"), consul=operator.api("consul"))


def until(holds: Callable[[], bool], what: str) -> float:
    """How long it took until it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + SECONDS_MAX, what
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def test_the_bank_works_through_its_sidecars(operator):
    demo = ("demo", "--customers", "10", "--transfers", "100")
    assert operator.cbs(*demo, "--data", ".cbs-cluster")
    assert json.loads(operator.cbs("verify", "--json", "--data", ".cbs-cluster"))
    assert json.loads(operator.cbs("cluster", "plan", "--env", "laptop", "--json")) == []


def without_tls(place: tuple[str, int]) -> bytes:
    """What is answered to who says nothing of TLS."""
    with socket.create_connection(place, timeout=5) as connection:
        connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: bank\r\n\r\n")
        with suppress(ConnectionError):
            return connection.recv(4096)
    return b""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_answers_the_gateways_certificate_alone(bank, service, tmp_path):
    place = bank.listed(service)[0]

    assert without_tls(place) == b""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        past_the_gateway(place, None)
    other = "cbs-customers" if service == "audit" else "cbs-audit"
    refused, said = past_the_gateway(place, bank.certificate(other, tmp_path))
    assert (refused, "service" in said) == (403, False)
    answered, said = past_the_gateway(place, bank.certificate("cbs-gateway", tmp_path))
    assert (answered, json.loads(said)["service"]) == (200, service)


def own_addresses() -> set[str]:
    """Of this machine, but where services listen; one of the loopback network is always there."""
    found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    return {str(each[4][0]) for each in found} - {"127.0.0.1"} | {"127.0.0.2"}


@pytest.mark.parametrize("service", SERVICES)
def test_past_its_sidecar_a_service_does_not_answer_the_network(bank, service):
    for allocation in bank.allocations(service):
        ports = ports_of(allocation)
        host, port = ports["http"]
        assert host == "127.0.0.1"
        assert ports["mesh"] in bank.listed(service)
        assert (host, port) not in bank.listed(service)
        for address in own_addresses():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, port), timeout=5)
        # It is there: the node itself, on which are the sidecar and Consul's agent, reaches it.
        socket.create_connection((host, port), timeout=5).close()


def test_a_sidecar_has_no_other_port_at_which_its_token_could_be_had(bank):
    """Envoy's administration shows its whole configuration to whoever is on the node."""
    named = {ports_of(each)[label][1] for each in bank.everywhere() for label in SHOWN}

    assert listened_at(bank.folder["bin"] / "envoy") == named


def heard(asked: Callable[[], int], status: int) -> float:
    """When it was answered otherwise for the last time: each instance hears for itself, and what
    was open before must not go on."""
    began = last = time.monotonic()
    in_a_row = 0
    while in_a_row < IN_A_ROW:
        in_a_row = in_a_row + 1 if asked() == status else 0
        last = last if in_a_row else time.monotonic()
        assert last < began + SECONDS_MAX, f"it is not {status} yet"
    return last - began


def test_what_an_intention_denies_is_denied_within_seconds(bank, capsys):
    asked = lambda: bank.ask(TRANSACTIONS)[0]
    assert asked() == 404
    try:
        bank.intend("ledger", "deny")
        denied = heard(asked, 403)
        elsewhere = bank.ask(PRODUCTS)[0]
    finally:
        bank.intend("ledger", "allow")
    allowed = heard(asked, 404)

    with capsys.disabled():
        print(f"\ndenied after {denied:.2f} s, allowed after {allowed:.2f} s")  # noqa: T201
    assert denied < HEARD_SECONDS_MAX
    assert allowed < HEARD_SECONDS_MAX
    # Nobody else is denied anything.
    assert elsewhere == 200


def test_who_pretends_to_be_a_service_is_told_nothing(bank, tmp_path):
    """Somebody who may write the catalogue, but has no certificate of the service."""
    with pretending(bank.certificate("cbs-audit", tmp_path)) as false:
        entry = {"Name": "cbs-accounts", "ID": "false", "Address": "127.0.0.1"}
        bank.consul.put("/v1/agent/service/register", {**entry, "Port": false.server_port})
        try:
            time.sleep(2)  # for the gateway to hear of it
            answers = Counter(bank.ask(PRODUCTS)[0] for _ in range(100))
        finally:
            bank.consul.put("/v1/agent/service/deregister/false", None)

    assert false.asked == 0
    assert answers == {200: 100}


def test_a_new_root_of_the_mesh_is_taken_by_all_and_nobody_notices(bank):
    """As certificates are renewed, too, before they run out."""
    before, answers = bank.root(), Counter[int]()
    bank.renew_root()

    def taken() -> bool:
        answers.update(bank.ask(path)[0] for path in (PRODUCTS, TRANSACTIONS))
        used = [*map(shown_by, bank.listed("ledger")), bank.shown_by_the_gateway()]
        return bank.root() != before and {each and root_of(each) for each in used} == {bank.root()}

    until(taken, "somebody keeps to the old root")

    assert set(answers) == {200, 404}


def test_a_sidecar_that_is_killed_costs_nobody_anything(bank):
    allocation = bank.allocations("ledger")[0]
    body = {"Task": "sidecar", "Signal": "SIGKILL"}
    bank.nomad.put(f"/v1/client/allocation/{allocation['ID']}/signal", body)
    state = lambda: bank.nomad.get(f"/v1/allocation/{allocation['ID']}")["TaskStates"]["sidecar"]
    place, answers = ports_of(allocation)["mesh"], Counter[int]()
    back = lambda: state()["Restarts"] == 1 and place in bank.listed("ledger")

    def asked() -> bool:
        answers.update(bank.ask(TRANSACTIONS)[0] for _ in range(10))
        return back()

    until(asked, "its sidecar did not come back")

    assert set(answers) == {404}
