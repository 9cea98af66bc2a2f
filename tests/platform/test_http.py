"""The edge of every service, through a real one: each no is a problem document."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from litestar import get, post
from litestar.params import JSONBody

from cbs.ledger.main import build
from cbs.ledger.service import DECLARATION
from cbs.platform import admission as limits
from cbs.platform.context import current
from cbs.platform.process import Probe
from cbs.platform.service import Service
from cbs.platform.settings import Settings
from tests.conftest import Database
from tests.serving import Served, described, serving
from tests.signing import Signer


@get("/v1/ledger/broken")
async def broken() -> str:
    raise ZeroDivisionError("secret inside")


async def misread() -> str:
    return b"\xff".decode()


@post("/v1/ledger/misread")
async def misreading(data: JSONBody[dict[str, str]]) -> str:
    return await misread()


async def deep() -> str:
    return await deep()


@post("/v1/ledger/deep")
async def going_deep(data: JSONBody[dict[str, str]]) -> str:
    return await deep()


@get("/v1/ledger/slow")
async def slow() -> str:
    await asyncio.sleep(20)
    return "late"


@get("/v1/ledger/me")
async def me() -> dict[str, str]:
    return {"id": current().principal.id, "correlation": current().correlation_id}


@pytest.fixture
def service(database: Callable[[str], Database], nats_url: str, tmp_path: Path) -> Service:
    made = described(
        DECLARATION,
        Settings,
        build,
        database=database("ledger"),
        nats_url=nats_url,
        folder=tmp_path,
        signer=SIGNER,
    )
    for route in (broken, misreading, going_deep, slow, me, *Probe(made).routes()):
        made.app.register(route)
    return made


SIGNER = Signer()


@pytest.fixture
async def served(service: Service) -> AsyncIterator[Served]:
    async with serving(service, SIGNER) as served:
        yield served


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert body["status"] == response.status_code and body["title"], body
    return response.status_code, body["type"].removeprefix("urn:cbs:")


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [
        (None, ""),
        ("Basic abc", ""),
        ("Bearer", ""),
        ("Bearer nonsense", "not valid"),
        (f"Bearer {'x' * 9000}", ""),
        (f"Bearer {SIGNER.token('tara', seconds=-60)}", "expired"),
        (f"Bearer {Signer().token('tara')}", "not valid"),
    ],
    ids=["none", "basic", "empty", "nonsense", "long", "expired", "forged"],
)
async def test_a_token_is_needed_and_checked(served, authorization, detail):
    async with served.client("tara") as tara:
        headers = {"Authorization": authorization} if authorization else {"Authorization": ""}
        response = await tara.get("/v1/ledger/accounts", headers=headers)

    assert problem(response) == (401, "not-signed-in")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert detail in response.json().get("detail", "")


async def test_a_missing_permission_is_told_and_is_a_fact(served):
    async with served.client("tara", "payments.cash") as tara:
        assert problem(await tara.get("/v1/ledger/accounts")) == (403, "not-permitted")
    facts = await served.service.runtime.outbox.after(0, limit=10)

    (refused,) = [json.loads(body) for _, subject, body in facts if "permission" in subject]
    assert refused["actor"] == "tara"
    assert refused["data"]["permission"] == "ledger.read"


async def test_every_no_is_a_problem(served):
    async with served.client("olga", "ledger.post", "ledger.read") as olga:
        post = {"url": "/v1/ledger/transactions", "headers": {"content-type": "application/json"}}
        assert problem(await olga.get("/v1/nothing")) == (404, "no-such-resource")
        assert problem(await olga.delete("/v1/ledger/accounts"))[0] == 405
        assert problem(await olga.get("/v1/ledger/accounts?limit=9999")) == (400, "malformed")
        assert problem(await olga.get("/v1/ledger/accounts?cursor=%21")) == (400, "malformed")
        assert problem(await olga.get("/v1/ledger/accounts?limmit=1")) == (400, "malformed")
        assert (await olga.get("/v1/ledger/accounts?limit=1")).status_code == 200
        assert problem(await olga.post(**post, content=b"{")) == (400, "malformed")
        assert problem(await olga.post(**post, content=b"[" * 50_000)) == (400, "malformed")
        assert problem(await olga.post(**post, content=b"\xff\xfe")) == (400, "malformed")
        assert problem(await olga.post(**post, content=b"{}" + b" " * 70_000)) == (413, "too-large")
        unknown = {"kind": "fee", "currency": "INR", "legs": [], "surprise": 1}
        assert problem(await olga.post("/v1/ledger/transactions", json=unknown))[0] == 400


@pytest.mark.parametrize(
    "types",
    [
        (),
        ("text/plain",),
        ("application/x-www-form-urlencoded",),
        ("application/json; charset=utf-16",),
    ],
)
async def test_what_does_not_say_that_it_is_json_is_not_read(served, types):
    headers = [("content-type", each) for each in types]
    async with served.client("olga", "ledger.post") as olga:
        request = olga.build_request("POST", "/v1/ledger/transactions", content=b"{}")
        request.headers = httpx.Headers([*request.headers.multi_items(), *headers])

        assert problem(await olga.send(request)) == (415, "not-json")


@pytest.mark.parametrize("type_", ["application/json;charset=UTF-8", "Application/JSON"])
async def test_json_is_json_however_it_is_written(served, type_):
    async with served.client("olga", "ledger.post") as olga:
        headers = {"content-type": type_}
        answer = await olga.post("/v1/ledger/transactions", content=b"{}", headers=headers)

    assert problem(answer) == (400, "malformed")


async def test_a_bug_says_nothing_of_itself(served):
    async with served.client("tara") as tara:
        response = await tara.get("/v1/ledger/broken")

    assert problem(response) == (500, "internal-error")
    assert "secret" not in response.text and "Zero" not in response.text


@pytest.mark.parametrize("path", ["misread", "deep"])
async def test_only_reading_a_body_makes_an_error_of_python_the_callers(served, path):
    """msgspec raises both of a body; from a use case they are as much a bug as any other."""
    url = f"/v1/ledger/{path}"
    async with served.client("tara") as tara:
        assert problem(await tara.post(url, json={})) == (500, "internal-error")
        headers = {"content-type": "application/json"}
        for body in (b'{"a": "\xff"}', b'{"a": ' + b"[" * 30_000):
            answer = await tara.post(url, content=body, headers=headers)
            assert problem(answer) == (400, "malformed")


async def test_what_takes_too_long_is_ended(served, monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_SECONDS_MAX", 0.2)
    async with served.client("tara") as tara:
        response = await tara.get("/v1/ledger/slow")

    assert problem(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"


async def busy(served: Served, monkeypatch) -> tuple[httpx.Response, float, httpx.Response]:
    """What a request is told while another takes the only place, how soon, and what afterwards."""
    monkeypatch.setattr(limits, "IN_FLIGHT_MAX", 1)
    monkeypatch.setattr(limits, "REQUEST_SECONDS_MAX", 3)
    clock = asyncio.get_running_loop().time
    async with served.client("tara") as tara:
        first = asyncio.create_task(tara.get("/v1/ledger/slow"))
        while served.service.admission.in_flight == 0:  # noqa: ASYNC110 (another connection)
            await asyncio.sleep(0.01)
        began = clock()
        # Refused before its token is looked at: that is work, too.
        told = await tara.get("/v1/ledger/me", headers={"Authorization": "Bearer nonsense"})
        seconds = clock() - began
        await first
        return told, seconds, await tara.get("/v1/ledger/me")


async def test_more_than_it_takes_on_is_refused_and_told_after_a_while(served, monkeypatch):
    monkeypatch.setattr(limits, "HELD_SECONDS", 0.3)
    told, seconds, afterwards = await busy(served, monkeypatch)

    assert problem(told) == (429, "busy")
    assert told.headers["retry-after"] == "1"
    assert seconds >= 0.3
    assert afterwards.status_code == 200
    assert served.service.admission.held == 0


async def test_what_finds_no_room_to_wait_is_told_at_once(served, monkeypatch):
    monkeypatch.setattr(limits, "HELD_SECONDS", 60)
    monkeypatch.setattr(limits, "HELD_MAX", 0)
    told, seconds, _ = await busy(served, monkeypatch)

    assert problem(told) == (429, "busy")
    assert told.headers["retry-after"] == "1"
    assert seconds < 30


async def test_an_outage_of_the_database_is_unavailable_not_a_bug(served):
    assert served.service.runtime.postgres.pool is not None
    served.service.runtime.postgres.pool.terminate()
    async with served.client("olga", "ledger.read") as olga:
        response = await olga.get("/v1/ledger/accounts/INR-CASH")

    assert problem(response) == (503, "unavailable")


async def test_the_principal_and_the_correlation_reach_the_handler(served):
    async with served.client("tara") as tara:
        told = await tara.get("/v1/ledger/me", headers={"X-Correlation-Id": "c-42"})

    assert told.json() == {"id": "tara", "correlation": "c-42"}


async def test_health_says_whether_to_send_requests(served, service):
    async with served.client("tara") as tara:
        live, ready = await tara.get("/health/live"), await tara.get("/health/ready")
        metrics = await tara.get("/metrics")
        assert service.runtime.postgres.pool is not None
        service.runtime.postgres.pool.terminate()
        down = await tara.get("/health/ready")

    assert live.status_code == 200
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["queues"]) >= {"http", "bus", "outbox", "dead-letters", "orders"}
    assert "cbs_request_seconds_bucket" in metrics.text
    assert (down.status_code, down.json()["status"]) == (503, "no-database")
