"""A call is repeated elsewhere until somebody can answer it; its key makes all of it one."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import stamina
from nats.errors import Error as NatsError
from purgatory.domain.model import OpenedState

from cbs.kernel.refusal import RefusalKind, Unavailable
from cbs.platform.declaration import again
from cbs.platform.envelope import Reply

T = TypeVar("T")

TRIES_MAX, WAIT_SECONDS, WAIT_SECONDS_MAX = 4, 0.05, 0.5

# One attempt at a subject. It may raise TimeoutError, what NATS does, and OpenedState.
Attempt = Callable[[str], Awaitable[Reply[T]]]


async def until_answered(attempt: Attempt[T], subject: str, deadline: float) -> Reply[T]:
    """Raises Unavailable when nobody answered before the deadline, in the loop's time.

    An answer that only says unavailable is taken if it is said twice.
    """
    try:
        reply = await _persistently(attempt, _ways(subject), deadline)
        if reply.refused and reply.refused.because is RefusalKind.UNAVAILABLE:
            # Who said so may be ill alone: a canary, or one that has lost its database.
            with suppress(TimeoutError, NatsError, OSError, OpenedState, Unavailable):
                reply = await attempt(again(subject))
        return reply
    except OpenedState:
        raise Unavailable(f"{subject} does not answer at present") from None
    except (TimeoutError, NatsError, OSError) as error:
        raise Unavailable(f"{subject} did not answer: {type(error).__name__}") from None


def _ways(subject: str) -> Iterator[str]:
    # One that was released before `.again` was answers only the first.
    return itertools.cycle([subject, again(subject)])


async def _persistently(attempt: Attempt[T], ways: Iterator[str], deadline: float) -> Reply[T]:
    left = max(deadline - asyncio.get_running_loop().time(), 0.01)
    try:
        return await attempt(next(ways))
    except (TimeoutError, NatsError):
        async for retry in stamina.retry_context(
            on=(NatsError, asyncio.TimeoutError),
            attempts=TRIES_MAX,
            timeout=left,
            wait_initial=WAIT_SECONDS,
            wait_max=WAIT_SECONDS_MAX,
        ):
            with retry:
                return await attempt(next(ways))
        raise
