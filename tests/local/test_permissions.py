"""What a service declares is what the real server lets it do, and no more."""

import asyncio
import socket
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import nats
import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import ConsumerConfig

from cbs.platform.declaration import Declaration, permissions
from cbs.tools.local import nats_server, secrets
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import running
from tests.nats_flush import flushed

BANK = (
    Declaration(service="ledger", serves=("post",)),
    Declaration(service="payments", serves=("request",), calls=("ledger.post",)),
    Declaration(service="audit", hears=("ledger",)),
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Service -> (URL, file of its seed), on a server with the bank's own configuration."""
    folder, claim = tmp_path_factory.mktemp("nats"), choose(14222)
    users = {}
    for connections in BANK:
        seed = secrets.new_nkey()
        (folder / connections.service).write_text(seed)
        users[connections.service] = (secrets.public_nkey(seed), permissions(connections))
    conf = folder / "nats.conf"
    conf.write_text(nats_server.bank_conf(port=claim.port, store=folder / "store", users=users))
    ready = lambda: is_open(claim.port)
    with running(nats_server.command(conf), log=folder / "log", is_ready=ready):
        yield f"nats://127.0.0.1:{claim.port}", folder
    claim.release()


@asynccontextmanager
async def signed_in(bank, service):
    """A client of a service, with the refusals that the server has told it of."""
    url, folder = bank
    refused = []

    async def on_error(error):
        refused.append(str(error).lower())

    client = await nats.connect(
        url,
        nkeys_seed=str(folder / service),
        inbox_prefix=f"_INBOX_{service}".encode(),
        error_cb=on_error,
        allow_reconnect=False,
    )
    try:
        yield client, refused
    finally:
        await client.close()


def test_without_a_key_nobody_gets_in(bank):
    place = urlsplit(bank[0])
    with socket.create_connection((place.hostname, place.port), timeout=5) as client:
        client.sendall(b"CONNECT {}\r\nPING\r\n")
        said = client.makefile("rb")
        assert said.readline().startswith(b"INFO")
        assert b"Authorization Violation" in said.readline()


async def answer(message):
    await message.respond(b"posted")


async def test_a_service_is_asked_by_those_who_declare_it_and_by_no_others(bank):
    async with (
        signed_in(bank, "ledger") as (ledger, _),
        signed_in(bank, "payments") as (payments, _),
        signed_in(bank, "audit") as (audit, refused),
    ):
        ways = ("cbs.ledger.post", "cbs.ledger.post.again", "cbs.ledger.post.on.abc")
        for way in ways:
            await ledger.subscribe(way, cb=answer)
        await flushed(ledger)
        for way in ways:
            assert (await payments.request(way, b"", timeout=2)).data == b"posted"
            with pytest.raises(NatsTimeout):
                await audit.request(way, b"", timeout=0.3)
        assert any("permissions violation" in text for text in refused)


async def test_a_service_cannot_publish_the_facts_of_another(bank):
    async with (
        signed_in(bank, "ledger") as (ledger, _),
        signed_in(bank, "payments") as (payments, refused),
    ):
        await ledger.jetstream().add_stream(name="CBS_LEDGER", subjects=["cbs.ledger.events.>"])
        await ledger.jetstream().publish("cbs.ledger.events.posted", b"true")
        with pytest.raises((NatsTimeout, NoRespondersError)):
            await payments.request("cbs.ledger.events.posted", b"forged", timeout=0.3)
        assert any("permissions violation for publish" in text for text in refused)
        assert (await ledger.jetstream().stream_info("CBS_LEDGER")).state.messages == 1


async def test_a_service_cannot_listen_in(bank):
    async with signed_in(bank, "payments") as (payments, refused):
        for subject in ("_INBOX_ledger.>", "cbs.ledger.events.>", "cbs.ledger.post", ">"):
            await payments.subscribe(subject)
        await flushed(payments)
        await asyncio.sleep(0.1)
        assert len([text for text in refused if "for subscription" in text]) == 4


async def test_facts_are_heard_by_those_who_declare_it_and_by_no_others(bank):
    async with (
        signed_in(bank, "ledger") as (ledger, _),
        signed_in(bank, "audit") as (audit, _),
        signed_in(bank, "payments") as (payments, _),
    ):
        await ledger.jetstream().add_stream(name="CBS_LEDGER", subjects=["cbs.ledger.events.>"])
        await ledger.jetstream().publish("cbs.ledger.events.posted", b"true")
        hearing = await audit.jetstream().pull_subscribe(
            "cbs.ledger.events.>", durable="audit", stream="CBS_LEDGER"
        )
        heard = await hearing.fetch(1, timeout=2)
        await heard[0].ack_sync()
        assert heard[0].data == b"true"
        with pytest.raises(NatsTimeout):
            await payments.jetstream(timeout=0.3).add_consumer(
                "CBS_LEDGER", ConsumerConfig(durable_name="payments")
            )
        with pytest.raises(NatsTimeout):
            await audit.jetstream(timeout=0.3).delete_stream("CBS_LEDGER")
