"""Over a real broker, whatever is said twice, late or not at all: every fact is kept once."""

import asyncio
import random
from contextlib import AsyncExitStack

import asyncpg
import pytest

from cbs.audit.invariants import audit_log_faults
from cbs.audit.main import build
from cbs.audit.service import DECLARATION
from cbs.platform.settings import Settings
from tests.audit.sources import Source, source
from tests.serving import described, serving

OTHERS = tuple(source for source in DECLARATION.hears if source != "audit")
HEAR_SECONDS_MAX = 30


@pytest.fixture
async def sources(nats_url, service):
    tokens = service.runtime.tokens
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(source(name, nats_url=nats_url, tokens=tokens))
            for name in OTHERS
        ]


async def tell_carelessly(said: Source, dice: random.Random) -> None:
    """Some facts twice, some out of order, some never."""
    for _ in range(6):
        new = said.put(dice.randrange(1, 40))
        told = [body for body in new if dice.random() < 0.9] + dice.sample(said.outbox, 1)
        dice.shuffle(told)
        await said.publish(told)


async def heard_all(connection, expected: int) -> None:
    for _ in range(HEAR_SECONDS_MAX * 20):
        kept = await connection.fetchval("SELECT tree_size FROM audit_head")
        if kept >= expected:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"heard {kept} of {expected}")


async def test_two_instances_and_four_sources_keep_every_fact_once(
    service, signer, place, nats_url, tmp_path, sources
):
    other = described(
        DECLARATION,
        Settings,
        build,
        database=place,
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
    )
    dice = random.Random(9162)
    connection = await asyncpg.connect(place.verify_url)
    async with serving(service, signer), serving(other, signer):
        await asyncio.gather(*(tell_carelessly(said, dice) for said in sources))
        expected = sum(len(said.outbox) for said in sources)
        await heard_all(connection, expected)
    rows = await connection.fetch("SELECT source, position, body FROM audit_entry ORDER BY index")
    faults = await audit_log_faults(connection)
    await connection.close()

    for said in sources:
        kept = [(row["position"], row["body"]) for row in rows if row["source"] == said.name]
        assert kept == list(enumerate(said.outbox, start=1)), said.name
    assert len(rows) == expected
    assert faults == []


async def test_an_instance_that_comes_back_hears_what_it_missed(service, signer, place, sources):
    connection = await asyncpg.connect(place.verify_url)
    ledger = next(said for said in sources if said.name == "ledger")
    await ledger.publish(ledger.put(3))
    async with serving(service, signer):
        await heard_all(connection, 3)
    await ledger.publish([*ledger.outbox, *ledger.put(2)])

    async with serving(service, signer):
        await heard_all(connection, 5)
        await asyncio.sleep(0.5)

    positions = await connection.fetch("SELECT position FROM audit_entry ORDER BY index")
    await connection.close()
    assert [row["position"] for row in positions] == [1, 2, 3, 4, 5]


async def test_that_somebody_wanted_to_read_the_log_is_in_the_log(served, place):
    async with served.client("nosy", "ledger.read") as nosy:
        assert (await nosy.get("/v1/audit/entries")).status_code == 403
    connection = await asyncpg.connect(place.verify_url)
    await heard_all(connection, 1)
    await connection.close()

    async with served.client("auditor", "audit.read") as auditor:
        page = (await auditor.get("/v1/audit/entries", params={"actor": "nosy"})).json()

    assert [(each["source"], each["fact"]) for each in page["items"]] == [
        ("audit", "permission-refused")
    ]
