"""Time passes only when everybody waits, and then at once; who is ready runs in a random order."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Coroutine, Generator
from random import Random
from typing import Any

PROCESS: contextvars.ContextVar["dict[asyncio.Task[Any], None]"] = contextvars.ContextVar("process")
SHUFFLED_OF_FOUR = 3


class Stuck(Exception):
    """Everybody waits for something that cannot come."""


class Loop(asyncio.BaseEventLoop):
    """Virtual time, no threads, no sockets. A task belongs to the process in whose context it
    was made, so that a crash can end all of them."""

    _ready: deque[Any]

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._moment = 0.0
        self._selector = self
        self.set_task_factory(_task)

    def time(self) -> float:
        return self._moment

    def select(self, timeout: float | None) -> list[Any]:
        """What BaseEventLoop asks its selector between two rounds."""
        if timeout is None:
            raise Stuck
        self._moment += max(timeout, 0.0)
        if len(self._ready) > 1 and self._random.randrange(4) < SHUFFLED_OF_FOUR:
            self._random.shuffle(self._ready)
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""


def _task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    task = asyncio.Task(work, loop=loop, context=context)
    process = PROCESS.get(None) if context is None else context.get(PROCESS)
    if process is not None:
        process[task] = None
        task.add_done_callback(lambda ended: process.pop(ended, None))
    return task
