"""What the simulated NATS promises the bus, relay and listener, NATS does: one suite on both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import nats
import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError
from nats.micro import add_service
from nats.micro.service import EndpointConfig, ServiceConfig

from cbs.simulation.network import Network
from cbs.simulation.process import Process
from cbs.simulation.streams import Streams
from tests.nats_flush import flushed

STREAM, SUBJECT, CONSUMER = "CBS_LEDGER", "cbs.ledger.events.posted", "payments"
ASKED = "cbs.ledger.post"
PATIENCE_SECONDS, SOON_SECONDS = 5.0, 0.3


class Simulated:
    def __init__(self) -> None:
        random = Random(1)
        streams = Streams(random, lambda: 0.0, lambda: False)
        self.network = Network(random, streams, doubling=0.0)
        self.client = self.network.connect(Process("payments"))

    async def serve(self, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        async def accept(request):
            await request.respond(await answer(request.data))

        self.network.listening[ASKED] = (Process("ledger"), accept)


class Real:
    def __init__(self, client) -> None:
        self.client = client

    async def serve(self, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        async def accept(request):
            await request.respond(await answer(request.data))

        service = await add_service(self.client, ServiceConfig(name="ledger", version="1.0.0"))
        await service.add_endpoint(EndpointConfig(name="post", subject=ASKED, handler=accept))
        await flushed(self.client)


@pytest.fixture(params=["simulated", "nats"])
async def broker(request) -> AsyncIterator[Simulated | Real]:
    if request.param == "simulated":
        yield Simulated()
        return
    client = await nats.connect(request.getfixturevalue("nats_url"))
    yield Real(client)
    await client.close()


@pytest.fixture
def jetstream(broker):
    return broker.client.jetstream(timeout=PATIENCE_SECONDS, publish_async_max_pending=1024)


async def made(jetstream):
    await jetstream.add_stream(StreamConfig(name=STREAM, subjects=["cbs.ledger.events.>"]))


async def hearing(jetstream):
    config = ConsumerConfig(
        durable_name=CONSUMER,
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.NEW,
        mem_storage=True,
    )
    await jetstream.add_consumer(STREAM, config)
    return await jetstream.pull_subscribe_bind(consumer=CONSUMER, stream=STREAM)


async def publish(jetstream, *numbers):
    for number in numbers:
        ack = await jetstream.publish_async(
            SUBJECT, b"%d" % number, stream=STREAM, headers={"Nats-Msg-Id": f"ledger-{number}"}
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ack


async def heard(subscription, count):
    """In whatever pieces they come; the listener sorts them."""
    found: list[int] = []
    while len(found) < count:
        messages = await subscription.fetch(256, timeout=PATIENCE_SECONDS)
        found += [int(message.data) for message in messages]
    return sorted(found)


async def silent(subscription):
    # nats-py raises one of three, all of which are this.
    with pytest.raises(TimeoutError):
        await subscription.fetch(256, timeout=SOON_SECONDS)


async def test_a_message_with_a_known_id_is_acknowledged_and_dropped(jetstream):
    await made(jetstream)
    subscription = await hearing(jetstream)

    await publish(jetstream, 1, 2, 1)

    assert await heard(subscription, 2) == [1, 2]
    await silent(subscription)


async def test_a_consumer_is_handed_each_message_once(jetstream):
    await made(jetstream)
    subscription = await hearing(jetstream)
    await publish(jetstream, *range(5))
    assert await heard(subscription, 5) == [*range(5)]

    await silent(subscription)
    await publish(jetstream, 5)

    assert await heard(subscription, 1) == [5]


async def test_a_new_consumer_is_handed_what_comes_after_it(jetstream):
    await made(jetstream)
    await publish(jetstream, 1, 2, 3)
    subscription = await hearing(jetstream)
    await publish(jetstream, 4)

    assert await heard(subscription, 1) == [4]
    await silent(subscription)


async def test_a_consumer_keeps_its_place_when_its_listener_comes_back(jetstream):
    await made(jetstream)
    before = await hearing(jetstream)
    await publish(jetstream, 1)
    assert await heard(before, 1) == [1]
    await before.unsubscribe()
    await publish(jetstream, 2)

    after = await jetstream.pull_subscribe_bind(consumer=CONSUMER, stream=STREAM)

    assert await heard(after, 1) == [2]


async def test_a_fetch_that_waits_is_answered_when_something_comes(jetstream):
    await made(jetstream)
    subscription = await hearing(jetstream)
    waiting = asyncio.create_task(heard(subscription, 1))
    await asyncio.sleep(SOON_SECONDS)

    await publish(jetstream, 1)

    assert await waiting == [1]


async def test_what_is_there_already_stays_as_it_is(jetstream):
    await made(jetstream)
    subscription = await hearing(jetstream)
    await publish(jetstream, 1)
    await made(jetstream)
    await hearing(jetstream)

    assert await heard(subscription, 1) == [1]


async def test_what_is_not_there_is_not_found(jetstream):
    with pytest.raises(NotFoundError):
        await jetstream.stream_info(STREAM)
    with pytest.raises(NotFoundError):
        await jetstream.consumer_info(STREAM, CONSUMER)
    with pytest.raises(NotFoundError):
        await jetstream.add_consumer(STREAM, ConsumerConfig(durable_name=CONSUMER))
    await made(jetstream)
    with pytest.raises(NotFoundError):
        await jetstream.consumer_info(STREAM, CONSUMER)


async def test_a_publication_without_its_stream_fails_at_once(jetstream):
    with pytest.raises(NoStreamResponseError):
        await publish(jetstream, 1)


async def test_a_request_gets_its_answer(broker):
    async def twice(data: bytes) -> bytes:
        return data + data

    await broker.serve(twice)

    reply = await broker.client.request(ASKED, b"ab", timeout=PATIENCE_SECONDS)

    assert reply.data == b"abab"


async def test_where_nobody_listens_a_request_fails_at_once(broker):
    with pytest.raises(NoRespondersError):
        await broker.client.request(ASKED, b"", timeout=PATIENCE_SECONDS)


async def test_a_request_that_is_not_answered_in_time_fails(broker):
    async def never(data: bytes) -> bytes:
        await asyncio.sleep(3 * SOON_SECONDS)
        return data

    await broker.serve(never)

    with pytest.raises(NatsTimeout):
        await broker.client.request(ASKED, b"", timeout=SOON_SECONDS)


async def test_two_who_serve_share_the_requests(broker):
    asked: list[str] = []

    async def one(data: bytes) -> bytes:
        asked.append("one")
        return data

    async def other(data: bytes) -> bytes:
        asked.append("other")
        return data

    await broker.serve(one)
    await broker.serve(other)
    for number in range(9):
        reply = await broker.client.request(ASKED, b"%d" % number, timeout=PATIENCE_SECONDS)
        assert reply.data == b"%d" % number

    assert len(asked) == 9
