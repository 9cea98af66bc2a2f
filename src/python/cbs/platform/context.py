"""What is known about the work in hand: for whom, why, and how long it may take."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from cbs.kernel.event import Origin
from cbs.kernel.ids import RANDOM_BITS, uuid7
from cbs.kernel.principal import Kind, Principal


@dataclass(slots=True)
class Sources:
    """Where time and chance come from; a simulation puts its own here."""

    time_ns: Callable[[], int] = time.time_ns
    random_bytes: Callable[[int], bytes] = os.urandom
    last_id: int = 0


SOURCES = Sources()


def now() -> datetime:
    seconds, nanoseconds = divmod(SOURCES.time_ns(), 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def new_id() -> UUID:
    """A UUIDv7 above every other that this process made, also within a millisecond."""
    random = int.from_bytes(SOURCES.random_bytes(10), "big") & ((1 << RANDOM_BITS) - 1)
    made = uuid7(at_ms=SOURCES.time_ns() // 1_000_000, random=random)
    if made.int <= SOURCES.last_id:
        made = UUID(int=SOURCES.last_id + 1)
    SOURCES.last_id = made.int
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`token` is the principal's own, passed on as it came; `deadline` is the event loop's time.

    Work that a service does by itself has the service as principal and names whom it is for in
    `on_behalf_of`.
    """

    principal: Principal
    token: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    on_behalf_of: str = ""
    deadline: float | None = None

    @property
    def origin(self) -> Origin:
        return Origin(
            actor=self.principal.id,
            on_behalf_of=self.on_behalf_of,
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
        )

    def seconds_left(self, at_most: float) -> float:
        if self.deadline is None:
            return at_most
        return min(at_most, self.deadline - asyncio.get_running_loop().time())


NOBODY = Context(principal=Principal(id="nobody", kind=Kind.SERVICE, permissions=frozenset()))

_current: ContextVar[Context] = ContextVar("context", default=NOBODY)


def current() -> Context:
    return _current.get()


@contextmanager
def within(context: Context) -> Iterator[Context]:
    """Make it the current context; one without a correlation id gets one of its own."""
    if not context.correlation_id:
        context = replace(context, correlation_id=SOURCES.random_bytes(8).hex())
    mark = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(mark)
