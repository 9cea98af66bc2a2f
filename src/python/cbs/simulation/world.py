"""One seed from its beginning to rest: the same seed, the same history, to the byte."""

import asyncio
import random as chance
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import structlog

from cbs.bank import SERVICES
from cbs.platform.context import SOURCES
from cbs.simulation import invariants
from cbs.simulation.bank import Bank
from cbs.simulation.callers import Callers
from cbs.simulation.loop import Loop, Stuck
from cbs.simulation.plan import BUSY_SECONDS, Fault, Plan
from cbs.simulation.restrictions import Violated

BEGAN = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
SETTLE_SECONDS_MAX, NOTES_MAX = 240.0, 20_000
KEY = "5a" * 32


@dataclass(slots=True, kw_only=True)
class History:
    """What happened, and the promise that was broken, if one was."""

    plan: Plan
    notes: list[str] = field(default_factory=list)
    violation: str = ""
    requests: int = 0
    refused: int = 0
    settled_after: float = 0.0
    ended_at: float = 0.0


class World:
    def __init__(self, plan: Plan, loop: Loop, random: Random, key: Path) -> None:
        self.plan, self.loop, self.random = plan, loop, random
        self.history = History(plan=plan)
        self.violations: list[BaseException] = []
        self.returning: list[asyncio.Task[None]] = []
        self.bank = Bank(random, self.now, self.note, key, BEGAN, self.violations.append)
        self.callers = Callers(self.bank, loop.time, self.note, self._answered)
        self.watch = invariants.CommitWatch(self.bank)
        for name, server in self.bank.servers.items():
            server.committed = partial(self._committed, name)

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.loop.time())

    def note(self, text: str) -> None:
        if len(self.history.notes) < NOTES_MAX:
            self.history.notes.append(f"{self.loop.time():9.4f}  {text}")

    def _committed(self, name: str) -> None:
        try:
            self.watch.committed(name)
        except AssertionError as error:
            self.violations.append(error)

    def _answered(self, asked: Any) -> None:
        invariants.when_answered(self.bank, asked)

    async def live(self) -> None:
        for name in SERVICES:
            self.bank.boot(name)
        for fault in self.plan.faults:
            self.loop.call_later(fault.at, self._begin, fault)
        steps = [asyncio.create_task(self._step(step)) for step in self.plan.steps]
        try:
            await self._until_rest(steps)
            invariants.at_rest(self.bank, self.callers.asked)
        finally:
            for task in (*steps, *self.returning):
                task.cancel()
            await asyncio.gather(*steps, *self.returning, return_exceptions=True)
            await self.bank.stop()

    async def _step(self, step: Any) -> None:
        await asyncio.sleep(step.at)
        try:
            await self.callers.take(step)
        except AssertionError as error:
            self.violations.append(error)

    async def _until_rest(self, steps: "list[asyncio.Task[None]]") -> None:
        why = ""
        while self.loop.time() < BUSY_SECONDS + SETTLE_SECONDS_MAX:
            await asyncio.sleep(0.5)
            if self.violations:
                raise self.violations[0]
            busy = sum(not step.done() for step in steps)
            why = f"{busy} callers wait" if busy else invariants.unsettled(self.bank)
            if not why and self.loop.time() > self._quiet_at():
                self.history.settled_after = self.loop.time() - self._quiet_at()
                return
        raise Violated(f"the bank does not come to rest: {why}")

    def _quiet_at(self) -> float:
        return max([BUSY_SECONDS, *(fault.at + fault.seconds for fault in self.plan.faults)])

    # --- what goes wrong -------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        self.note(f"** {fault}")
        getattr(self, "_" + fault.kind.replace("-", "_"))(fault)

    def _later(self, fault: Fault, undo: Any) -> None:
        self.loop.call_later(fault.seconds, undo)

    def _crash(self, fault: Fault) -> None:
        if self.bank.processes[fault.service].alive:
            self.bank.crash(fault.service)
            again = self.bank.boot_again(fault.service, fault.seconds)
            self.returning.append(self.loop.create_task(again))

    def _set(self, thing: Any, name: str, value: Any, after: Any, fault: Fault) -> None:
        setattr(thing, name, value)
        self._later(fault, lambda: setattr(thing, name, after))

    def _lose_messages(self, fault: Fault) -> None:
        self._set(self.bank.network, "loss", 0.3, 0.0, fault)

    def _double_messages(self, fault: Fault) -> None:
        self._set(self.bank.network, "doubling", 0.6, 0.05, fault)

    def _slow_network(self, fault: Fault) -> None:
        self._set(self.bank.network, "slowness", 300.0, 1.0, fault)

    def _forgetful_streams(self, fault: Fault) -> None:
        streams = self.bank.network.streams
        streams.bring_again()
        self._set(streams, "forgetful", True, False, fault)

    def _cut_off(self, fault: Fault) -> None:
        cut = self.bank.network.cut
        cut[fault.service] = cut.get(fault.service, 0) + 1

        def mend() -> None:
            cut[fault.service] -= 1

        self._later(fault, mend)

    def _database_away(self, fault: Fault) -> None:
        server = self.bank.servers[fault.service]
        server.cut()
        self._set(server, "reachable", False, True, fault)

    def _database_cut(self, fault: Fault) -> None:
        self.bank.servers[fault.service].cut()

    def _lose_commits(self, fault: Fault) -> None:
        server = self.bank.servers[fault.service]
        server.commits_to_lose, server.lose_before = 3, False

    def _undo_commits(self, fault: Fault) -> None:
        server = self.bank.servers[fault.service]
        server.commits_to_lose, server.lose_before = 3, True

    def _lose_streams(self, fault: Fault) -> None:
        self.bank.network.streams.named.pop(f"CBS_{fault.service.upper()}", None)


def simulate(plan: Plan) -> History:
    """Live the plan; what it finds is in the history's `violation`."""
    random = Random(f"world {plan.seed}")
    loop = Loop(random)
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_text(KEY)
        world = World(plan, loop, random, key)
        with _chance_of(world, random), _logging_to(world):
            asyncio.set_event_loop(loop)
            # It tells of tasks that nobody waited for, whenever the collector comes by.
            loop.set_exception_handler(lambda *_: None)
            try:
                loop.run_until_complete(world.live())
            except (AssertionError, Stuck) as error:
                world.history.violation = f"{type(error).__name__}: {error}"
            finally:
                asyncio.set_event_loop(None)
                loop.close()
    asked, world.history.ended_at = world.callers.asked, loop.time()
    world.history.requests = len(asked)
    world.history.refused = sum(each.status >= 400 for each in asked)
    return world.history


@contextmanager
def _chance_of(world: World, random: Random) -> Iterator[None]:
    """Ids, clocks and the pauses between tries come from the seed while this lasts."""
    before, state = (SOURCES.time_ns, SOURCES.random_bytes, SOURCES.last_id), chance.getstate()
    began = int(BEGAN.timestamp()) * 10**9
    SOURCES.time_ns = lambda: began + int(world.loop.time() * 1_000_000_000)
    SOURCES.random_bytes, SOURCES.last_id = random.randbytes, 0
    chance.seed(world.plan.seed)
    try:
        yield
    finally:
        SOURCES.time_ns, SOURCES.random_bytes, SOURCES.last_id = before
        chance.setstate(state)


@contextmanager
def _logging_to(world: World) -> Iterator[None]:
    def told(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        said = {name: value for name, value in event.items() if name not in ("event", "exc_info")}
        error = event.get("exc_info")
        world.note(
            f"   log: {event['event']} {said} {error!r}"
            if error
            else f"   log: {event['event']} {said}"
        )
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[told], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
