"""Any bytes on any subject: a typed no, and the service is as it was before."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from structlog.testing import capture_logs

from cbs.accounts import main as accounts_main
from cbs.accounts import service as accounts
from cbs.audit import main as audit_main
from cbs.audit import service as audit
from cbs.bank import SERVICES
from cbs.customers import main as customers_main
from cbs.customers import service as customers
from cbs.customers.main import CustomersSettings
from cbs.kernel.account_number import account_number
from cbs.kernel.refusal import RefusalKind
from cbs.ledger import main as ledger_main
from cbs.ledger import service as ledger
from cbs.payments import main as payments_main
from cbs.payments import service as payments
from cbs.platform.envelope import Reply
from cbs.platform.relay import stream_name
from cbs.platform.service import Service
from cbs.platform.settings import Settings
from tests.fuzz.messages import NOTHING, nearly
from tests.nats_flush import flushed
from tests.serving import described, serving
from tests.signing import Signer

NUMBER, OTHER = (account_number(branch=1, serial=serial) for serial in (1, 2))
POST = {
    "kind": "transfer",
    "currency": "INR",
    "legs": [{"account": NUMBER, "amount_minor": -5}, {"account": OTHER, "amount_minor": 5}],
    "value_on": "2026-04-01",
    "narrative": "rent",
}
TERMS = {"number": NUMBER, "kind": "customer", "currency": "INR", "version": 0, "floor_minor": 0}
ID = "01a20f31-717e-791e-bb6f-694f5671fb8f"
SEEDS: dict[str, dict[str, Any]] = {
    "ledger.post": POST,
    "ledger.set-account": TERMS,
    "ledger.accounts": {"numbers": [NUMBER]},
    "ledger.history": {"number": NUMBER, "before": 5, "limit": 10},
    "ledger.transaction": {"id": ID},
    "ledger.request": {"principal": "tara", "key": "key-0001"},
    "customers.standing": {"customer_id": ID},
    **{f"{each}.facts": {"position": 0, "limit": 5} for each in SERVICES},
}
WRITES = {"ledger.post", "ledger.set-account"}
GIVES_ITSELF_AWAY = re.compile(rb"Traceback|Error\(|object at 0x|asyncpg|SELECT|File \"")
TABLES = ("posting", "transaction", "customer", "transfer", "account", "change", "dead_letter")
ENDED = {"the deadline had passed", "it took too long"}


@dataclass
class Line:
    """Every service on one bus, and a stranger with a valid token and no manners."""

    services: dict[str, Service]
    client: Client
    token: str

    async def ask(self, operation: str, body: bytes, headers: Any = None) -> Reply:
        answer = await self.client.request(f"cbs.{operation}", body, timeout=8, headers=headers)
        assert not GIVES_ITSELF_AWAY.search(answer.data), answer.data
        assert not answer.headers, answer.headers
        return msgspec.json.decode(answer.data, type=Reply)

    def call(self, operation: str, **changed: Any) -> dict[str, Any]:
        return {
            "token": self.token,
            "milliseconds_left": 4000,
            "data": SEEDS[operation],
            "key": "key-0001",
            "correlation_id": "c1",
            "causation_id": "c0",
            "on_behalf_of": "tara",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            **changed,
        }

    async def at_rest(self) -> None:
        async with asyncio.timeout(10):
            while any(service.runtime.bus.in_flight for service in self.services.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def state(self) -> dict[str, Any]:
        """What must not grow: rows with an effect, tasks, subscriptions."""
        await self.at_rest()
        rows = {}
        for service in self.services.values():
            for table in TABLES:
                found = await service.runtime.postgres.fetchrow(
                    "SELECT to_regclass($1) IS NOT NULL AS is_there", table
                )
                if found["is_there"]:
                    count = await service.runtime.postgres.fetchrow(f"SELECT count(*) FROM {table}")
                    rows[f"{service.name}.{table}"] = count["count"]
            # Without what a listener fetches with at this moment.
            subjects = [sub.subject for sub in service.runtime.bus._client._subs.values()]
            rows[f"{service.name} subscriptions"] = sum("INBOX" not in each for each in subjects)
        return rows


@pytest.fixture
async def line(database, nats_url, tmp_path) -> AsyncIterator[Line]:
    signer = Signer()
    vault = tmp_path / "vault.key"
    vault.write_text("ab" * 32)
    parts: list[Any] = [
        (customers.DECLARATION, CustomersSettings, customers_main.build, {"vault_key_file": vault}),
        (ledger.DECLARATION, Settings, ledger_main.build, {}),
        (accounts.DECLARATION, Settings, accounts_main.build, {}),
        (payments.DECLARATION, Settings, payments_main.build, {}),
        (audit.DECLARATION, Settings, audit_main.build, {}),
    ]
    services = {
        connections.service: described(
            connections,
            settings_type,
            build,
            database=database(connections.service),
            nats_url=nats_url,
            folder=tmp_path,
            signer=signer,
            **more,
        )
        for connections, settings_type, build, more in parts
    }
    client = await nats.connect(nats_url)
    token = signer.token("tara", "internal", "payments.transfer", "ledger.post", kind="service")
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            for service in services.values():
                await stack.enter_async_context(serving(service, signer))
            yield Line(services, client, token)
            await client.close()
    errors = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert not errors, errors


MESSAGES = 120


def drawn(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Examples to be sent from the test's own event loop, which Hypothesis cannot enter."""
    found: list[bytes] = []

    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(body=strategy)
    def take(body: bytes) -> None:
        found.append(body)

    take()
    return found


def is_typed(reply: Reply, body: bytes) -> None:
    refused = reply.refused
    assert refused is not None or reply.data, body
    if refused is None:
        return
    assert refused.title and refused.code, body
    # An outage is said of nothing that a caller can bring about, but by its own deadline.
    if refused.because is RefusalKind.UNAVAILABLE:
        assert refused.detail in ENDED, body[:500]


@pytest.mark.parametrize("operation", SEEDS)
async def test_any_message_is_answered_in_kind(line, operation):
    before, tasks = await line.state(), len(asyncio.all_tasks())

    done = 0
    for body in drawn(nearly(line.call(operation)) | NOTHING, MESSAGES):
        reply = await line.ask(operation, body)
        is_typed(reply, body)
        done += operation in WRITES and reply.refused is None

    # A change may make a call right: `version` is 0, and may become 1. What that does, it may do.
    assert done or await line.state() == before
    # Listeners have tasks that come and go; what stayed for each message would be many more.
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > tasks + MESSAGES // 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def with_each_number(data: Any, huge: int) -> list[Any]:
    """The data with one number after the other put in place of those that it has."""
    if isinstance(data, dict):
        return [
            data | {name: other}
            for name, value in data.items()
            for other in with_each_number(value, huge)
        ]
    if isinstance(data, list):
        return [
            [*data[:place], other, *data[place + 1 :]]
            for place, value in enumerate(data)
            for other in with_each_number(value, huge)
        ]
    return [huge] if isinstance(data, int) else []


@pytest.mark.parametrize("operation", SEEDS)
async def test_a_number_that_a_reader_would_lose_is_refused(line, operation):
    for huge in (2**53, -(2**53), 10**40):
        for data in with_each_number(SEEDS[operation], huge):
            reply = await line.ask(operation, msgspec.json.encode(line.call(operation, data=data)))
            assert reply.refused and reply.refused.code == "malformed", (data, reply)


async def test_a_deadline_that_no_clock_knows_is_one_all_the_same(line):
    for milliseconds, detail in ((10**400, None), (-(10**400), "the deadline had passed")):
        call = line.call("ledger.accounts") | {"milliseconds_left": 0}
        body = msgspec.json.encode(call).replace(
            b'"milliseconds_left":0', f'"milliseconds_left":{milliseconds}'.encode()
        )
        reply = await line.ask("ledger.accounts", body)
        assert (reply.refused and reply.refused.detail) == detail, reply


async def test_what_postgresql_cannot_keep_is_malformed(line):
    before = await line.state()
    calls = [
        ("ledger.post", line.call("ledger.post", **{field: "key\0-0001"}))
        for field in ("key", "correlation_id", "causation_id", "on_behalf_of")
    ]
    for field in ("principal", "key"):
        wanted = {**SEEDS["ledger.request"], field: "key\0-0001"}
        calls.append(("ledger.request", line.call("ledger.request", data=wanted)))
    for operation, call in calls:
        reply = await line.ask(operation, msgspec.json.encode(call))
        assert reply.refused and reply.refused.code == "malformed", call
    assert await line.state() == before


async def test_headers_are_passed_over(line):
    body = msgspec.json.encode(line.call("ledger.accounts"))
    for headers in ({"": "x"}, {"Nats-Service-Error": "x"}, {"Status": "503"}, {"A": "b" * 9000}):
        reply = await line.ask("ledger.accounts", body, headers)
        assert reply.refused is None


async def test_what_nobody_waits_for_is_not_done(line):
    before = await line.state()
    call = line.call("ledger.set-account", data={**TERMS, "version": 1})
    await line.client.publish("cbs.ledger.set-account", msgspec.json.encode(call))
    await line.client.publish("cbs.ledger.post", b"\xff")
    await flushed(line.client)

    reply = await line.ask("ledger.accounts", msgspec.json.encode(line.call("ledger.accounts")))
    assert reply.data == {"accounts": []}
    assert await line.state() == before


@pytest.mark.parametrize(
    "reply",
    [
        "cbs.ledger.events.account-closed",
        "cbs.ledger.post",
        f"$JS.API.STREAM.DELETE.{stream_name('ledger')}",
    ],
)
async def test_nobody_borrows_the_voice_of_a_service(line, reply):
    """The bus lets a service answer wherever it was told to; so it looks where that is."""
    said: list[bytes] = []

    async def hear(message):
        said.append(message.data)

    await line.client.subscribe(reply, cb=hear)
    await flushed(line.client)
    body = msgspec.json.encode(line.call("ledger.accounts"))
    with capture_logs() as logs:
        await line.client.publish("cbs.ledger.accounts", body, reply=reply)
        await flushed(line.client)
        await line.ask("ledger.accounts", body)
    # What it would have said is out, and here.
    await line.at_rest()
    await flushed(line.services["ledger"].runtime.bus._client)
    await flushed(line.client)
    await asyncio.sleep(0)

    assert said == []
    assert [entry["event"] for entry in logs].count("nowhere-to-answer") == 1
    stream = await line.client.jetstream().stream_info(stream_name("ledger"))
    assert stream.state.messages == 0


async def test_rubbish_among_the_facts_is_passed_over(line):
    ledger_service, listeners = line.services["ledger"], ("payments", "audit")

    async def count(listener: str, query: str) -> int:
        row = await line.services[listener].runtime.postgres.fetchrow(query)
        return int(row["count"])

    async def heard(position: int) -> None:
        query = "SELECT coalesce(max(position), 0) count FROM watermark WHERE source = 'ledger'"
        async with asyncio.timeout(30):
            while {await count(each, query) for each in listeners} != {position}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def refuse(times: int) -> None:
        """A refused permission is a fact of the ledger's."""
        for _ in range(times):
            await ledger_service.runtime.not_permitted(
                ledger_service.runtime.principal, "ledger.read", "GET"
            )

    await refuse(3)
    await heard(3)

    (_, subject, body), *_ = await ledger_service.runtime.outbox.after(0, limit=1)
    fact = msgspec.json.decode(body)
    bodies = drawn(nearly({**fact, "position": "999999"}) | nearly(fact) | NOTHING, 150)
    streams = line.client.jetstream()
    for number, body in enumerate(bodies):
        await streams.publish(subject, body, headers={"Nats-Msg-Id": f"rubbish-{number}"})
    await refuse(3)

    await heard(6)
    for each in listeners:
        assert await count(each, "SELECT count(*) FROM dead_letter") == 0
    assert await count("audit", "SELECT count(*) FROM audit_entry WHERE source = 'ledger'") == 6
