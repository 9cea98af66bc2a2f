"""Wait until something holds, and not for ever: one place looks again and again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

POLL_SECONDS = 0.05

T = TypeVar("T")


def wait_until(look: Callable[[], T], *, seconds: float, every: float = POLL_SECONDS) -> T:
    """What `look` says once it is true, or, when the time is over, at last."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(every)
    return found


async def until(
    look: Callable[[], Awaitable[T]],
    *,
    seconds: float,
    every: float = POLL_SECONDS,
    done: Callable[[T], bool] = bool,
) -> T:
    """As `wait_until`, beside other work; `done` says of what was found whether it will do."""
    deadline = time.monotonic() + seconds
    while not done(found := await look()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(every)
    return found
