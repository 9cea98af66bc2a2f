"""A saga is a list of named steps, each of which may be taken twice; what a step has done is undone
by its compensation, never forgotten. How it is kept and driven is `cbs.platform.saga`'s business.

A step first does what others see (a call to another service), outside any transaction; then what it
decides here takes effect in the one transaction in which the saga moves on. When a step is refused
for good, the compensations of that step and of those before it are taken, last first, and the saga
ends with the refusal as its answer. The refused step's own is among them: an earlier try of it may
still be on its way.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.refusal import Refusal, RefusalKind

D = TypeVar("D")

DONE = "done"


class SagaUnderWay(Refusal):
    """Another change of the same thing must be finished first; ask again with the same key."""

    code = "saga-under-way"
    kind = RefusalKind.UNAVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asked under which key, and so whom the answer is kept for."""

    principal: str
    key: str
    on_behalf_of: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga(Generic[D]):
    """One run: `step` is to be taken next, `data` is what its steps need to know.

    `refusal` is the answer of a saga that is being undone, `refusal_code` says which it was.
    """

    id: UUID
    kind: str
    step: str
    data: D
    requester: Requester
    refusal: Answer | None = None
    refusal_code: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[D]):
    """What a step decided: data that have changed, events, and of the last step the answer."""

    data: D | None = None
    answer: Answer | None = None
    events: tuple[Event, ...] = ()


# What takes effect in the transaction in which the saga moves on; it may be asked for again.
Effect = Callable[[], Awaitable[Outcome[D]]]


async def nothing() -> Outcome[D]:
    """The effect of a step that only asked."""
    return Outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[D]):
    """A lasting refusal that `take` raises begins the compensations; any other is tried again."""

    name: str
    take: Callable[[Saga[D]], Awaitable[Effect[D]]]
    compensation: "Sequence[Step[D]]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDefinition(Generic[D]):
    """The steps of one kind of saga, in order; `data` is the type that is kept as JSON."""

    kind: str
    data: type[D]
    steps: Sequence[Step[D]]

    def __post_init__(self) -> None:
        names = [step.name for step in (*self.steps, *self._compensations())]
        assert self.steps and DONE not in names, names
        assert len(set(names)) == len(names), f"a step has one name, and a name one step: {names}"

    @property
    def first(self) -> str:
        return self.steps[0].name

    def step(self, name: str) -> Step[D]:
        return next(s for s in (*self.steps, *self._compensations()) if s.name == name)

    def following(self, name: str) -> str:
        """The step after this one, when it was taken."""
        for path in (self.steps, self._compensations()):
            for step, after in pairwise(path):
                if step.name == name:
                    return after.name
        return DONE

    def refused(self, name: str) -> str | None:
        """The step after this one, when it was refused; None where it must not be: it is undone."""
        forward = [step.name for step in self.steps]
        if name not in forward:
            return None
        undone = self._compensations(forward.index(name))
        return undone[0].name if undone else DONE

    def _compensations(self, last: int | None = None) -> "list[Step[D]]":
        """Those of the steps up to `last`, that one's first."""
        steps = self.steps if last is None else self.steps[: last + 1]
        return [step for each in reversed(steps) for step in each.compensation]

    def transitions(self) -> Iterator[tuple[str, str, bool]]:
        """From a step to the next, and whether it is for a refusal."""
        for step in self.steps:
            yield step.name, self.following(step.name), False
            refused = self.refused(step.name)
            assert refused is not None, step
            yield step.name, refused, True
        for step in self._compensations():
            yield step.name, self.following(step.name), False


def mermaid(definition: SagaDefinition[D]) -> str:
    """The saga as a state diagram; a refusal that needs no compensation ends it."""
    lines = ["stateDiagram-v2", f"    [*] --> {definition.first}"]
    for step, after, refused in definition.transitions():
        label = " : refused" if refused else ""
        lines.append(f"    {step} --> {'[*]' if after == DONE else after}{label}")
    return "\n".join(lines) + "\n"
