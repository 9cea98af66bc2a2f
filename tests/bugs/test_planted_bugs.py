"""Every planted bug is caught, by a scenario that passes without it."""

import pytest

from cbs.platform import consumer
from cbs.platform.relay import ensure_stream, stream_name
from tests.bugs.moments import PATIENCE_SECONDS
from tests.bugs.planted import BUGS
from tests.bugs.planting import Bug
from tests.platform.houses import House, Running

SOUND = {(bug.stage, bug.scenario): bug for bug in BUGS}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "PAUSE_SECONDS_MAX", 0.05)


@pytest.mark.parametrize(
    ("stage", "bug"),
    [pytest.param(bug.stage, bug, id=bug.scenario.__name__) for bug in SOUND.values()],
    indirect=["stage"],
)
async def test_without_the_bug_all_is_well(stage: object, bug: Bug):
    await bug.scenario(stage)


@pytest.mark.parametrize(
    ("stage", "bug"),
    [pytest.param(bug.stage, bug, id=bug.name) for bug in BUGS],
    indirect=["stage"],
)
async def test_the_bug_is_caught(stage: object, bug: Bug, monkeypatch: pytest.MonkeyPatch):
    for edit in bug.edits:
        edit.make(monkeypatch)

    with pytest.raises(bug.seen) as caught:
        await bug.scenario(stage)

    # Caught as the bug that it is, not by a net that catches everything.
    assert caught.type is bug.seen


async def test_an_acknowledgement_before_the_commit_is_no_bug_here(house: House):
    """What the broker believes was heard does not matter: the watermark is ours."""
    jetstream = house.bus.jetstream()
    async with Running(house.relay):
        await house.light(0, 1, 2)
        await ensure_stream(house.relay.bus, "ledger")
        early = await jetstream.pull_subscribe(
            "cbs.ledger.events.>", durable=house.consumer.service, stream=stream_name("ledger")
        )
        for _ in range(3):
            (message,) = await early.fetch(1, timeout=PATIENCE_SECONDS)
            await message.ack_sync()
        await early.unsubscribe()

    async with Running(house.relay, house.consumer):
        heard = await house.until_heard(3, seconds=PATIENCE_SECONDS)

    assert heard == [0, 1, 2]
