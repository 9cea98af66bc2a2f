"""The real Envoy, with the bank's own configuration, before stand-ins for the services."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

import pytest

from cbs.bank import SERVICES
from cbs.gateway import envoy, places
from cbs.tools.local import health, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import running
from tests.local import fake_service


class Bank:
    """A folder with secrets, an Envoy on its ports, and a registry to write to."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = folder.claim_ports()
        self.teller = folder.token("teller").read_text()

    def tell(self):
        for service in SERVICES:
            found = places.endpoints(self.folder["registry"], service)
            places.write_endpoints(self.folder["edge"], service, found)

    def get(self, path, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["edge"], timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, json.loads(body)

    def eventually(self, path, status):
        deadline = time.monotonic() + 10
        while (answer := self.get(path, self.teller)[0]).status != status:
            assert time.monotonic() < deadline, answer.status
            time.sleep(0.05)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    with up(tmp_path_factory.mktemp("bank") / "data") as bank:
        yield bank


@pytest.fixture
def narrow_bank(tmp_path, monkeypatch):
    """Its edge lets one request a service pass at a time, however long that takes."""
    monkeypatch.setattr(envoy, "UPSTREAM_REQUESTS_MAX", 1)
    monkeypatch.setattr(envoy, "ROUTE_SECONDS_MAX", 60)
    with up(tmp_path / "data") as bank:
        yield bank


@pytest.fixture
def hasty_bank(tmp_path, monkeypatch):
    """Its edge waits five seconds for an answer."""
    monkeypatch.setattr(envoy, "ROUTE_SECONDS_MAX", 5)
    with up(tmp_path / "data") as bank:
        yield bank


@contextmanager
def up(place):
    folder = Folder.at(place)
    folder.found()
    secrets.make_all(folder)
    bank = Bank(folder)
    bank.tell()
    conf = folder["edge"] / "envoy.json"
    conf.write_text(
        envoy.bootstrap(
            edge=folder["edge"],
            port=bank.ports["edge"],
            admin_port=bank.ports["edge-admin"],
            jwks=folder.jwks,
        )
    )
    with running(
        envoy.command(conf),
        log=folder.log("edge"),
        is_ready=lambda: health.get(bank.ports["edge-admin"], "/ready")[0] == 200,
    ):
        yield bank
    folder.release_ports()


@contextmanager
def serving(bank, service):
    server = fake_service.server(service, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    entry = fake_service.enter(bank.folder["registry"], service, server.server_port)
    bank.tell()
    try:
        yield entry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        entry.unlink(missing_ok=True)
        bank.tell()


def test_each_service_has_its_path(bank):
    with serving(bank, "ledger"), serving(bank, "payments"):
        bank.eventually("/v1/ledger", 200)
        bank.eventually("/v1/payments", 200)
        assert bank.get("/v1/ledger/a?b=c", bank.teller)[1]["service"] == "ledger"
        assert bank.get("/v1/payments/x", bank.teller)[1]["service"] == "payments"
        assert health.routes_to(bank.ports["edge-admin"]) == {"ledger", "payments"}


def test_who_has_no_token_or_a_false_one_is_turned_away(bank):
    forged = bank.teller[:-8] + ("A" * 8 if bank.teller[-8:] != "A" * 8 else "B" * 8)
    with serving(bank, "ledger"):
        bank.eventually("/v1/ledger", 200)
        for path, token in (
            ("/v1/ledger", None),
            ("/v1/ledger", "nonsense"),
            ("/v1/ledger", forged),
            (f"/v1/ledger?access_token={bank.teller}", None),
        ):
            answer, problem = bank.get(path, token)
            assert (answer.status, problem["type"]) == (401, "urn:cbs:not-signed-in")
            assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/health/ready", "/metrics", "/schema/openapi.json", "/v1/ledgers", "/v1/ledger/../x"]
)
def test_nothing_but_the_public_paths_is_routed(bank, path):
    with serving(bank, "ledger"):
        bank.eventually("/v1/ledger", 200)
        answer, problem = bank.get(path, bank.teller)
        assert (answer.status, problem["type"]) == (404, "urn:cbs:no-such-resource")


def test_the_edge_follows_the_registry(bank):
    with serving(bank, "audit"):
        bank.eventually("/v1/audit", 200)
    bank.eventually("/v1/audit", 503)
    answer, problem = bank.get("/v1/audit", bank.teller)
    assert problem["type"] == "urn:cbs:unavailable"
    assert answer.headers["Retry-After"] == "1"
    with serving(bank, "audit"):
        bank.eventually("/v1/audit", 200)


@pytest.fixture
def slow_service(monkeypatch):
    """Two events: a request of /slow has arrived, and it may be answered."""
    arrived, go_on = threading.Event(), threading.Event()
    answer_at_once = fake_service.Handler.do_GET

    def answer(self):
        if self.path.endswith("/slow"):
            arrived.set()
            go_on.wait(30)
        answer_at_once(self)

    monkeypatch.setattr(fake_service.Handler, "do_GET", answer)
    yield arrived, go_on
    go_on.set()


def test_what_is_answered_too_late_is_unavailable(hasty_bank, slow_service):
    with serving(hasty_bank, "ledger"):
        hasty_bank.eventually("/v1/ledger", 200)
        late, problem = hasty_bank.get("/v1/ledger/slow", hasty_bank.teller)
        slow_service[1].set()

    assert (late.status, problem["type"], problem["status"]) == (503, "urn:cbs:unavailable", 503)
    assert late.headers["Retry-After"] == "1"


def test_more_than_a_service_could_turn_away_is_refused_at_the_edge(narrow_bank, slow_service):
    arrived, go_on = slow_service
    with serving(narrow_bank, "ledger"), serving(narrow_bank, "audit"):
        narrow_bank.eventually("/v1/ledger", 200)
        narrow_bank.eventually("/v1/audit", 200)
        slow = threading.Thread(
            target=narrow_bank.get, args=("/v1/ledger/slow", narrow_bank.teller)
        )
        slow.start()
        assert arrived.wait(30)
        refused, problem = narrow_bank.get("/v1/ledger", narrow_bank.teller)
        other, _ = narrow_bank.get("/v1/audit", narrow_bank.teller)
        go_on.set()
        slow.join()

        assert (refused.status, problem["type"]) == (429, "urn:cbs:busy")
        assert problem["status"] == 429
        assert refused.headers["Retry-After"] == "1"
        assert other.status == 200
        narrow_bank.eventually("/v1/ledger", 200)


def test_an_instance_that_was_killed_is_signed_off(tmp_path):
    entry = fake_service.enter(tmp_path, "ledger", 1)
    assert places.endpoints(tmp_path, "ledger") == [places.Place("127.0.0.1", 1)]
    gone = json.loads(entry.read_text()) | {"pid": 2**22 + 1}
    entry.write_text(json.dumps(gone))
    assert places.endpoints(tmp_path, "ledger") == []
    assert not entry.exists()
