"""Whatever breaks at whichever statement: a fact is heard once, set aside once, and published."""

import asyncio
from typing import Any

import pytest

from cbs.kernel.answer import Answer
from cbs.platform import consumer
from cbs.platform.idempotency import Keys
from cbs.platform.relay import ensure_stream, stream_name
from cbs.platform.service import Runtime
from tests.bugs.planting import Edit
from tests.crash_points import Bench, Statements, statements  # noqa: F401
from tests.platform.conftest import begun_on
from tests.platform.houses import House
from tests.platform.test_facts import house  # noqa: F401
from tests.platform.test_idempotency import asked
from tests.platform.test_outbox import FACT
from tests.refusals import GRANTED, Send


async def news(house: House, lamp: int = 0) -> list[bytes]:  # noqa: F811
    """Of a lamp, told after what was heard so far."""
    await house.consumer.inbox.begin("ledger")
    heard = await house.consumer.inbox.heard("ledger")
    await house.light(lamp)
    return [body for _, _, body in await house.source.after(heard, limit=9)]


@pytest.mark.parametrize("poison", [set(), {0}], ids=["handled", "set-aside"])
async def test_a_fact_is_heard_once(
    statements: Statements,  # noqa: F811
    house: House,  # noqa: F811
    poison: set[int],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(consumer, "TRIES_MAX", 2)
    house.poison = poison
    bench = Bench(statements, {"listener": house.listener})

    async def hear(send: Send) -> str:
        facts = await news(house)

        async def ask() -> bool:
            await house.consumer.hear(facts)
            return True

        await send(ask, bool)
        return GRANTED

    assert await bench.prove_asking(hear) > 3


async def test_a_fact_is_published_once(statements: Statements, house: House):  # noqa: F811
    await ensure_stream(house.relay.bus, "ledger")
    stream = house.relay.bus.jetstream()

    async def measured() -> dict[str, int]:
        state = (await stream.stream_info(stream_name("ledger"))).state
        return {"stored": state.messages, "waiting": await house.source.waiting()}

    bench = Bench(statements, {}, measured)

    async def relay(send: Send) -> str:
        async def ask() -> bool:
            async with house.source.turn() as turn:
                if turn is None:
                    # PostgreSQL takes a moment to see that a connection is gone.
                    await asyncio.sleep(0.1)
                    return False
                await house.relay.publish(turn)
            return True

        await house.light(1, 2)
        await send(ask, bool)
        return GRANTED

    assert await bench.prove_asking(relay) > 3


@pytest.fixture
async def runtime(database) -> Any:
    async with begun_on(database("ledger").runtime_url) as runtime:
        yield runtime


BUGS = {
    "none": (),
    "the effect comes before the key": (
        Edit(
            Keys,
            "once",
            "        async with self.database.transaction():\n",
            "        async with self.database.transaction():\n"
            "            await effect()\n"
            "        async with self.database.transaction():\n",
        ),
    ),
    "the answer is kept later": (
        Edit(
            Keys,
            "once",
            "            if answer is not None:\n",
            "        async with self.database.transaction():\n            if answer is not None:\n",
        ),
    ),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_key_has_one_effect(
    statements: Statements,  # noqa: F811
    runtime: Runtime[Any],
    bug: str,
    monkeypatch: pytest.MonkeyPatch,
):
    """And a bug that lets one have two, or none that is answered, is seen."""
    for edit in BUGS[bug]:
        edit.make(monkeypatch)
    bench, keys = Bench(statements, {"keys": runtime.postgres}), iter(range(1_000))

    async def effect() -> Answer:
        await runtime.outbox.put(FACT)
        return Answer(status=201, body=b"1")

    async def request(send: Send) -> str:
        key = asked(f"key-{next(keys):04}")
        await send(lambda: runtime.requests.once(key, effect), bool)
        return GRANTED

    if bug == "none":
        assert await bench.prove_asking(request) > 7
    else:
        with pytest.raises(AssertionError, match="COMMIT"):
            await bench.prove_asking(request)
