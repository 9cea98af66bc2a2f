"""A process is what a crash ends: its tasks, its connections, its memory, all at one moment."""

import asyncio
import contextvars
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from cbs.simulation.loop import TASKS

_PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")


@dataclass(slots=True, eq=False)
class Process:
    """`given` is what the handlers of its HTTP app get by name."""

    name: str
    alive: bool = True
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)  # in order
    given: dict[str, Any] = field(default_factory=dict)
    _context: contextvars.Context = field(default_factory=contextvars.Context)

    def __post_init__(self) -> None:
        self._context.run(TASKS.set, self.tasks)
        self._context.run(_PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """As a task of this process, whoever asks for it."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def kill(self) -> None:
        """What still runs while its tasks unwind can reach nobody: it does not live any more."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()

    async def buried(self) -> None:
        """`asyncio.timeout` may take one cancellation for its own: cancel until it is felt."""
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.wait(list(self.tasks), timeout=1)


def current() -> Process:
    """The one whose task is running."""
    return _PROCESS.get()
