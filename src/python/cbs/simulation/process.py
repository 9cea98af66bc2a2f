"""A process is what a crash ends: its tasks, its connections, its memory, all at one moment."""

import asyncio
import contextvars
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from cbs.simulation.loop import PROCESS


@dataclass(slots=True, eq=False)
class Process:
    name: str
    alive: bool = True
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)  # in order

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """As a task of this process, whoever asks for it."""
        context = contextvars.Context()
        context.run(PROCESS.set, self.tasks)
        return asyncio.get_running_loop().create_task(work, context=context)

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
