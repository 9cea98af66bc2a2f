"""A failure is understood from its shortest history: what it can do without is left out."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cbs.simulation.plan import Plan
from cbs.simulation.world import History, simulate

RUNS_MAX = 120

T = TypeVar("T")


@dataclass(slots=True)
class Shrinking:
    """`shortest` still breaks the promise that `of` broke; effort is bounded by `runs_left`."""

    shortest: History
    runs_left: int = RUNS_MAX

    def _still(self, plan: Plan) -> bool:
        if self.runs_left <= 0:
            return False
        self.runs_left -= 1
        history = simulate(plan)
        if _promise(history) != _promise(self.shortest):
            return False
        self.shortest = history
        return True

    def shrink(self) -> History:
        """Faults first: a history with none of them is a bug of every day."""
        plan, ended_at = self.shortest.plan, self.shortest.ended_at
        steps = tuple(step for step in plan.steps if step.at <= ended_at)
        faults = tuple(fault for fault in plan.faults if fault.at <= ended_at)
        self._still(replace(plan, steps=steps, faults=faults))
        self._leave_out(lambda plan: plan.faults, lambda plan, f: replace(plan, faults=f))
        self._leave_out(lambda plan: plan.steps, lambda plan, s: replace(plan, steps=s))
        self._leave_out(lambda plan: plan.faults, lambda plan, f: replace(plan, faults=f))
        return self.shortest

    def _leave_out(
        self,
        parts: Callable[[Plan], tuple[T, ...]],
        having: Callable[[Plan, tuple[T, ...]], Plan],
    ) -> None:
        size = len(parts(self.shortest.plan))
        while size >= 1 and self.runs_left > 0:
            start = 0
            while start < len(here := parts(self.shortest.plan)) and self.runs_left > 0:
                without = here[:start] + here[start + size :]
                if not self._still(having(self.shortest.plan, without)):
                    start += size
            size //= 2


def _promise(history: History) -> str:
    """Which one was broken, without the evidence and the number of the request."""
    return re.sub(r"#\d+", "#", ":".join(history.violation.split(":")[:2]))


def timeline(history: History) -> Iterator[str]:
    """What is left of the history, for people."""
    plan = history.plan
    yield f"seed {plan.seed}: {history.violation}"
    yield f"{history.requests} requests, {len(plan.faults)} faults, {plan.crashes} crashes"
    yield "   seconds"
    yield from history.notes


def shortened(lines: Sequence[str], *, lines_max: int) -> list[str]:
    """The end tells most."""
    left_out = len(lines) - lines_max
    return list(lines) if left_out <= 0 else [f"… {left_out} lines", *lines[-lines_max:]]
