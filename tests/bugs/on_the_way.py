"""Short histories of facts between outbox and consumer, on real servers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import uuid4

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from cbs.platform.outbox import Fact
from cbs.platform.relay import ensure_stream, stream_name
from tests.bugs.moments import PATIENCE_SECONDS, commit_lost, holding
from tests.platform.houses import House, LampLit

WITNESSED = """
    INSERT INTO request (principal, key, fingerprint, asked_at) VALUES ($1, $2, '', now())"""
SEEN = "SELECT count(*) FROM request"
SET_ASIDE = "SELECT count(*) FROM dead_letter"
BEGIN = "INSERT INTO watermark VALUES ('ledger', 0)"


def counting(house: House) -> Callable[[], Awaitable[int]]:
    """What the consumer does may be anything: it is counted as often as it is done."""
    database = house.listener

    async def handle(facts: Sequence[Fact]) -> None:
        for fact in facts:
            await database.execute(WITNESSED, fact.source, uuid4().hex)

    async def done() -> int:
        return int((await database.fetchrow(SEEN))["count"])

    house.handle = handle  # type: ignore[method-assign]
    return done


async def a_slow_transaction_and_a_quick_one(house: House) -> None:
    """Whoever reads on from the last position must not miss what commits late."""
    database, put, finish = house.source.database, asyncio.Event(), asyncio.Event()

    async def light_slowly() -> None:
        async with database.transaction():
            await house.source.put(LampLit(lamp=1))
            put.set()
            await finish.wait()

    async def positions(after: int) -> list[int]:
        return [position for position, _, _ in await house.source.after(after, limit=9)]

    slow = asyncio.create_task(light_slowly())
    await put.wait()
    quick = asyncio.create_task(house.light(2))
    async with holding(database) as other:
        waiting = asyncio.create_task(other.until_waiting(1))
        await asyncio.wait([quick, waiting], return_when=asyncio.FIRST_COMPLETED)
        seen = await positions(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    finish.set()
    await asyncio.gather(slow, quick)
    seen += await positions(seen[-1] if seen else 0)

    assert seen == [1, 2]


async def a_listener_killed_at_its_commit(house: House) -> None:
    database = house.listener
    await database.execute(BEGIN)
    await house.light(0, 1)
    for (_, _, body), done in zip(await house.source.after(0, limit=2), (False, True), strict=True):
        with commit_lost(done=done), suppress(ConnectionResetError):
            await house.consumer.hear([body])
        await house.consumer.hear([body])

    assert await house.heard() == [0, 1]
    assert (await database.fetchrow(SET_ASIDE))["count"] == 0


async def two_listeners_hear_the_same(house: House) -> None:
    database, entered, go = house.listener, list[int](), asyncio.Event()
    done = counting(house)
    count = house.handle

    async def handle(facts: Sequence[Fact]) -> None:
        entered.append(len(facts))
        await go.wait()
        await count(facts)

    house.handle = handle  # type: ignore[method-assign]
    await database.execute(BEGIN)
    await house.light(0)
    bodies = [body for _, _, body in await house.source.after(0, limit=1)]
    hearing = [asyncio.create_task(house.consumer.hear(bodies)) for _ in range(2)]
    async with holding(database) as other:
        waiting = asyncio.create_task(other.until_waiting(1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(entered) < 2 and not waiting.done():  # noqa: ASYNC110 (either of two)
                await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
    go.set()
    await asyncio.gather(*hearing)

    assert await done() == 1


async def a_fact_that_the_broker_did_not_bring(house: House) -> None:
    await house.listener.execute(BEGIN)
    await house.light(0, 1, 2)
    *_, (_, _, last) = await house.source.after(0, limit=3)
    await house.consumer.hear([last])

    assert await house.heard() == [0, 1, 2]


async def a_broker_that_takes_nothing_at_first(house: House) -> None:
    await house.light(0, 1, 2)
    async with house.source.turn() as turn:
        assert turn is not None
        with suppress(NatsError, APIError):
            await house.relay.publish(turn)
        await ensure_stream(house.relay.bus, "ledger")
        await house.relay.publish(turn)
    stream = await house.relay.bus.jetstream().stream_info(stream_name("ledger"))

    assert stream.state.messages == 3
