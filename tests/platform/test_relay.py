"""When a relay looks for facts to publish."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from cbs.platform import relay as limits
from cbs.platform.relay import Relay

HOUR, SECONDS_MAX = 3600, 20


async def test_told_of_facts_before_their_commit_it_looks_again_at_once(monkeypatch):
    monkeypatch.setattr(limits, "LOOK_AGAIN_SECONDS", HOUR)
    # Nothing yet; nothing yet, though it was told; one. Nobody tells it of more.
    finds, looked, done = [0, 0, 1], asyncio.Event(), asyncio.Event()

    class Looking(Relay):
        async def _ensure_stream(self) -> None:
            pass

        async def publish(self, _: object) -> int:
            found = finds.pop(0)
            looked.set()
            if not finds:
                done.set()
            return found

    outbox: Any = SimpleNamespace(written=asyncio.Event())
    relay = Looking(outbox=outbox, bus=cast("Any", None))
    looking = asyncio.create_task(relay._publish_on(cast("Any", None)))
    await looked.wait()
    outbox.written.set()
    async with asyncio.timeout(SECONDS_MAX):
        await done.wait()

    assert not looking.done()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
