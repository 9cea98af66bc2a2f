"""Time passes only when everybody waits, and then at once; who is ready runs in a random order."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any

TASKS: contextvars.ContextVar["dict[asyncio.Task[Any], None]"] = contextvars.ContextVar("tasks")
SHUFFLED_OF_FOUR = 3


class Stuck(Exception):
    """Everybody waits for something that cannot come."""


class _Call(asyncio.TimerHandle):
    """What asyncio's own handles do for people who debug is most of what they cost. An error in a
    callback is not logged but ends the simulation."""

    __slots__ = ("args", "callback", "context", "given_up", "moment")

    def __init__(
        self,
        moment: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.moment, self.callback, self.args, self.given_up = moment, callback, args, False
        self.context = contextvars.copy_context() if context is None else context

    def cancel(self) -> None:
        self.given_up = True

    def cancelled(self) -> bool:
        return self.given_up

    def when(self) -> float:
        return self.moment


class Loop(asyncio.BaseEventLoop):
    """Virtual time, no threads, no sockets. A task belongs to the process in whose context it
    was made, so that a crash can end all of them."""

    _ready: deque[_Call]

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._moment = 0.0
        self._selector = self
        # BaseEventLoop's own heap compares its handles in Python; these compare as tuples do.
        self._timers: list[tuple[float, int, _Call]] = []
        self._timers_made = 0
        self.set_task_factory(_task)

    def time(self) -> float:
        return self._moment

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._moment + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Call(when, callback, args, context)
        self._timers_made += 1
        heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        call = _Call(self._moment, callback, args, context)
        self._ready.append(call)
        return call

    def _run_once(self) -> None:
        """One round: what is ready, and what has become due, in an order of chance."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].given_up:
            heappop(timers)
        if not ready:
            if not timers:
                raise Stuck
            self._moment = max(self._moment, timers[0][0])
        while timers and timers[0][0] <= self._moment:
            ready.append(heappop(timers)[2])
        if len(ready) > 1 and self._random.randrange(4) < SHUFFLED_OF_FOUR:
            self._random.shuffle(ready)
        for _ in range(len(ready)):
            call = ready.popleft()
            if not call.given_up:
                call.context.run(call.callback, *call.args)

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""


async def pause(seconds: float) -> None:
    """asyncio.sleep without its care for callers that are cancelled: the timer just stays."""
    loop = asyncio.get_running_loop()
    waiting = loop.create_future()
    loop.call_later(seconds, wake, waiting)
    await waiting


def wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    task = asyncio.Task(work, loop=loop, context=context)
    tasks = TASKS.get(None) if context is None else context.get(TASKS)
    if tasks is not None:
        tasks[task] = None
        task.add_done_callback(lambda ended: tasks.pop(ended, None))
    return task
