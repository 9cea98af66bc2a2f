"""Facts from outbox to consumer, over a real PostgreSQL and a real NATS that lose and repeat."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import FetchTimeoutError

from cbs.kernel.event import Event
from cbs.kernel.refusal import Unavailable
from cbs.platform.operations import DeadLetters, StillIndigestible
from cbs.platform.outbox import PostgresOutbox, fact_of
from cbs.platform.relay import DUPLICATE_SECONDS, ensure_stream, stream_name
from tests.conftest import Database as Made
from tests.platform.buses import bus_of
from tests.platform.houses import House, LampLit, Running, house_on
from tests.signing import Signer


@pytest.fixture
async def house(
    database: Callable[[str], Made], nats_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    signer = Signer()
    ledger, audit = [await bus_of(name, nats_url, tmp_path, signer) for name in ("ledger", "audit")]
    async with house_on(ledger, audit, database) as made:
        yield made
    for bus in (ledger, audit):
        await bus.leave()
        await bus.close()


async def test_every_fact_is_heard_once_in_order(house):
    async with Running(house.relay, house.consumer):
        for lamp in range(0, 300, 3):
            await house.light(lamp, lamp + 1, lamp + 2)
        heard = await house.until_heard(300)

    assert heard == list(range(300))


@dataclass(frozen=True, slots=True, kw_only=True)
class LampSold(Event):
    """Nobody was told of such a fact."""

    fact = "lamp-sold"

    about: ClassVar[str] = "lamp"

    lamp: int


async def test_what_a_service_does_not_declare_it_cannot_publish(house):
    with pytest.raises(AssertionError, match="ledger does not declare lamp-sold"):
        async with house.source.database.transaction():
            await house.source.put(LampLit(lamp=1), LampSold(lamp=1))

    assert await house.source.head() == 0


async def test_a_stream_that_never_says_that_it_stores_is_made_anew(house):
    """As NATS's does for ever after a full disk; here it is told not to say so."""
    jetstream = house.bus.jetstream()
    await jetstream.add_stream(name="CBS_LEDGER", subjects=["cbs.ledger.events.>"], no_ack=True)
    async with Running(house.relay):
        await house.light(7)
        async with asyncio.timeout(30):
            while await house.source.waiting():  # noqa: ASYNC110 (another database)
                await asyncio.sleep(0.05)

    assert not (await jetstream.stream_info("CBS_LEDGER")).config.no_ack


async def test_relaying_leaves_nothing_behind_on_the_bus(house):
    async def lit_and_heard(lamps: range) -> int:
        for lamp in lamps:
            await house.light(lamp)
            await house.until_heard(lamp + 1)
        return len(asyncio.all_tasks())

    async with Running(house.relay, house.consumer):
        before = await lit_and_heard(range(5))
        after = await lit_and_heard(range(5, 25))

    assert after <= before + 5, "each page of facts left a subscription and its task"


async def test_to_take_what_has_arrived_costs_no_turn_of_the_loop(house):
    async def relayed(lamps: range) -> None:
        await house.light(*lamps)
        while await house.source.waiting():  # noqa: ASYNC110 (another database)
            await asyncio.sleep(0.05)

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Running(house.relay):
        await relayed(range(10))
        stream = stream_name("ledger")
        own = ConsumerConfig(durable_name="audit", ack_policy=AckPolicy.NONE)
        await house.bus.jetstream().add_consumer(stream, own)
        pull = await house.bus.pull(stream=stream, consumer="audit", page_max=256)
        taken = await pull.fetch(256, timeout=20)
        await relayed(range(10, 210))
    await asyncio.sleep(0.5)
    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    taken += await pull.fetch(256, timeout=20)

    assert turns == before
    assert [fact_of(message.data).position for message in taken] == list(range(1, 211))
    counting.cancel()
    with pytest.raises(FetchTimeoutError):
        await pull.fetch(256, timeout=0.2)
    await pull.unsubscribe()


async def test_the_bytes_kept_are_the_bytes_heard(house):
    await house.light(7)
    (_, subject, body) = (await house.source.after(0, limit=1))[0]
    fact = fact_of(body)

    assert subject == "cbs.ledger.events.lamp-lit"
    assert (fact.source, fact.position, fact.name) == ("ledger", 1, "lamp-lit")
    assert (fact.event.specversion, fact.event.subject) == ("1.0", "7")
    assert bytes(fact.event.data) == b'{"lamp":7}'


async def test_killed_again_and_again_both_sides_lose_and_repeat_nothing(house):
    for start in range(0, 100, 10):
        async with Running(house.relay, house.consumer):
            await house.light(*range(start, start + 10))
            await asyncio.sleep(0.03)
    async with Running(house.relay, house.consumer):
        heard = await house.until_heard(100)

    assert heard == list(range(100))


async def test_a_stream_that_is_lost_costs_nothing(house, nats_url):
    async with Running(house.relay, house.consumer):
        await house.light(0, 1, 2)
        await house.until_heard(3)
        client = await nats.connect(nats_url)
        await client.jetstream().delete_stream("CBS_LEDGER")
        await client.close()
        await house.light(3, 4)
        heard = await house.until_heard(5)

    assert heard == list(range(5))


async def test_a_listener_that_comes_late_gets_what_the_stream_no_longer_has(house):
    await house.light(*range(600))
    await house.source.database.execute("UPDATE relay SET position = 500")
    async with Running(house.relay, house.consumer):
        heard = await house.until_heard(600)

    assert heard == list(range(600))


async def test_repeated_and_shuffled_deliveries_change_nothing(house):
    await house.light(*range(5))
    bodies = [body for _, _, body in await house.source.after(0, limit=10)]
    await house.listener.execute("INSERT INTO watermark VALUES ('ledger', 0)")
    for delivery in ([3, 2], [0, 0, 1], [4], [1, 3], [0, 1, 2, 3, 4]):
        await house.consumer.hear([bodies[n] for n in delivery])

    assert await house.heard() == list(range(5))


async def test_what_is_no_fact_is_passed_over_and_what_it_replaced_is_fetched(house):
    await house.light(*range(4))
    bodies = [body for _, _, body in await house.source.after(0, limit=10)]
    await house.listener.execute("INSERT INTO watermark VALUES ('ledger', 0)")
    await house.consumer.hear([bodies[0], b"\xff", b"{}", b'{"type": "x"}', bodies[3]])

    assert await house.heard() == list(range(4))


async def test_a_gap_that_the_source_cannot_fill_is_said_and_not_stepped_over(house, monkeypatch):
    await house.light(*range(4))
    left: list[tuple[int, str, bytes]] = (await house.source.after(0, limit=10))[2:]

    async def after(
        _outbox: PostgresOutbox, _position: int, *, limit: int
    ) -> list[tuple[int, str, bytes]]:
        return left[:limit]

    monkeypatch.setattr(PostgresOutbox, "after", after)
    await house.listener.execute("INSERT INTO watermark VALUES ('ledger', 0)")
    with pytest.raises(Unavailable, match="no longer has"):
        await house.consumer.catch_up()

    assert await house.heard() == []


async def test_two_listeners_of_one_service_share_and_do_not_repeat(house):
    async with Running(house.relay, house.consumer, house.consumer):
        for lamp in range(200):
            await house.light(lamp)
        heard = await house.until_heard(200)
        await asyncio.sleep(0.3)

    assert heard == await house.heard() == list(range(200))


async def test_a_poisoned_fact_is_set_aside_and_can_be_replayed(house):
    house.poison = {1}
    async with Running(house.relay, house.consumer):
        await house.light(0, 1, 2)
        assert await house.until_heard(2) == [0, 2]
    inbox = house.consumer.inbox
    letters = DeadLetters(inbox=inbox, consumers=[house.consumer])
    (letter,) = await inbox.letters(after=("", 0), limit=10)
    assert (letter.source, letter.position, await inbox.waiting()) == ("ledger", 2, 1)
    assert "lamp 1" in letter.error

    with pytest.raises(StillIndigestible):
        async with house.listener.transaction():
            await letters.replay(source="ledger", position=2)
    house.poison = set()
    for _ in range(2):
        async with house.listener.transaction():
            await letters.replay(source="ledger", position=2)

    assert await house.heard() == [0, 1, 2]
    assert await inbox.waiting() == 0


async def test_a_fact_whose_transaction_fails_is_never_heard(house):
    async def fail() -> None:
        async with house.source.database.transaction():
            await house.source.put(LampLit(lamp=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await house.light(2)
    async with Running(house.relay, house.consumer):
        assert await house.until_heard(1) == [2]


async def test_a_stream_of_an_older_release_remembers_ids_no_longer_than_todays(house):
    jetstream = house.relay.bus.jetstream()
    await jetstream.add_stream(
        StreamConfig(
            name=stream_name("ledger"), subjects=["cbs.ledger.events.>"], duplicate_window=120
        )
    )
    await jetstream.publish("cbs.ledger.events.kept", b"", stream=stream_name("ledger"))
    await ensure_stream(house.relay.bus, "ledger")

    info = await jetstream.stream_info(stream_name("ledger"))
    assert (info.config.duplicate_window, info.state.messages) == (DUPLICATE_SECONDS, 1)


async def test_one_relay_at_a_time(house):
    async with Running(house.relay, house.relay):
        await house.light(1)
        await asyncio.sleep(0.3)
        connection: Any = await asyncpg.connect(house.source.database.config["dsn"])
        holders = await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await connection.close()

    assert holders == 1
