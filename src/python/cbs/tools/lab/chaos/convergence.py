"""When the trouble is over, the bank comes to rest by itself, in a time that it has promised."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from operator import not_

import msgspec

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.lab import usage
from cbs.tools.lab.chaos.faults import FULL, LOSE
from cbs.tools.lab.chaos.records import Violation
from cbs.tools.local import health, state
from cbs.tools.local.folder import Folder
from cbs.tools.local.waiting import until
from cbs.tools.ops.verify.snapshots import Snapshots
from cbs.tools.ops.verify.verify import places_of

READY_SECONDS_MAX, CONVERGED_SECONDS_MAX = 180.0, 120.0
POLL_SECONDS, SLOWEST_SHOWN = 0.1, 5
# What a round with this in it may take; streams are made anew, and what waited is published.
DUE_SECONDS, DUE_SECONDS_AFTER = 10.0, {LOSE: 20.0, FULL: 20.0}
# Allocators, caches and JITs settle late: what leaks with the requests passes this, given time.
GREW_TIMES, GREW_MIB = 1.5, 64
ENDED = re.compile(r"^\S+ (\S+) ended \(exit (?!-9\))(-?\d+|None)\)", re.M)


class Convergence(msgspec.Struct, kw_only=True):
    """Seconds from when the last part was ready: until no queue had anything in it, and until every
    listener had heard everything, too; `queues`: when each was last seen with something in it.
    `after` is the worst that was done before, or nothing that has a figure of its own."""

    after: str = ""
    queues_seconds: float = 0
    seconds: float = 0
    queues: dict[str, float] = {}

    @property
    def due_seconds(self) -> float:
        return DUE_SECONDS_AFTER.get(self.after, DUE_SECONDS)


async def converge(
    folder: Folder, violations: list[Violation], *, kinds: Collection[str]
) -> Convergence:
    """Wait until all is ready, then until nothing waits and every listener has heard it all.

    `kinds` of faults came before. What does not come to rest, or not in time, is a violation.
    """

    def broken(about: str, found: str) -> None:
        promise = "any part can be killed, and the bank converges by itself"
        violations.append(Violation(promise=promise, about=about, found=found))

    found = Convergence(after=next((kind for kind in DUE_SECONDS_AFTER if kind in kinds), ""))
    if late := await _none_left(READY_SECONDS_MAX, lambda: _not_ready(folder)):
        broken(f"not ready after {READY_SECONDS_MAX:.0f} s", ", ".join(late))
        return found
    ready_at = time.monotonic()

    def waiting() -> dict[str, int]:
        still = _waiting(folder)
        found.queues |= dict.fromkeys(still, round(time.monotonic() - ready_at, 1))
        return still

    left = await _none_left(CONVERGED_SECONDS_MAX, waiting)
    found.queues_seconds = round(time.monotonic() - ready_at, 1)
    if left:
        broken(f"not empty after {CONVERGED_SECONDS_MAX:.0f} s", str(left))
    hears = {service: declaration_of(service).hears for service in SERVICES}
    snapshots = Snapshots(places=places_of(folder), hears=hears)
    snapshots.fence_seconds_max = CONVERGED_SECONDS_MAX
    async with snapshots.taken(lambda _: None):
        for why in snapshots.behind.values():
            broken("a listener is behind", why)
    found.seconds = round(time.monotonic() - ready_at, 1)
    if found.seconds > found.due_seconds:
        slowest = sorted(found.queues.items(), key=lambda each: -each[1])[:SLOWEST_SHOWN]
        about = f"at rest within {found.due_seconds:.0f} s"
        broken(about, f"{found.seconds} s; queues last seen in use: {slowest}")
    return found


async def _none_left(seconds_max: float, left: Callable[[], dict[str, int]]) -> dict[str, int]:
    """What is left when nothing is, or when it has taken too long."""
    look = partial(asyncio.to_thread, left)
    return await until(look, done=not_, seconds=seconds_max, every=POLL_SECONDS)


def _not_ready(folder: Folder) -> dict[str, int]:
    running = state.read(folder.state)
    if running is None:
        return {"supervisor": 0}
    late = {part.name: part.pid for part in running.programs if part.phase != "ready"}
    for part in running.programs:
        if part.name in SERVICES and not health.readiness(part.port)[0]:
            late[part.name] = part.pid
    return late


def _waiting(folder: Folder) -> dict[str, int]:
    running = state.read(folder.state)
    found: dict[str, int] = {}
    for part in running.programs if running else ():
        if part.name in SERVICES:
            ready, said = health.readiness(part.port)
            queues = said.get("queues", {}) if ready else {"not ready": 1}
            found |= {f"{part.name} {name}": depth for name, depth in queues.items() if depth}
    return found


def memory_mib(folder: Folder) -> dict[str, int]:
    """Resident memory of every part's process (of PostgreSQL: of its first)."""
    running = state.read(folder.state)
    parts = running.programs if running else ()
    found = {part.name: usage.memory_mib(part.pid, "VmRSS") for part in parts}
    return {name: int(mib) for name, mib in found.items() if mib}


def memory_violations(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[Violation]:
    """Parts that did not give back the memory they took. All MiB, and both times at rest."""
    for part, mib in after.items():
        due = max(GREW_TIMES * before.get(part, 0), before.get(part, 0) + GREW_MIB)
        if part in before and mib > due:
            yield Violation(
                promise="memory is back where it was",
                about=part,
                found=f"{before[part]} MiB, then {mib} MiB: more than {due:.0f}",
            )


class Logged(msgspec.Struct):
    level: str = ""
    event: str = ""


def errors_logged(folder: Folder) -> dict[str, int]:
    """What services logged as errors, counted as `ledger batch-aborted`: nobody foresaw those."""
    found: Counter[str] = Counter()
    for service in SERVICES:
        for log in folder["logs"].glob(f"{service}.log*"):
            with log.open("rb") as lines:
                for text in lines:
                    if event := _error(text):
                        found[f"{service} {event}"] += 1
    return dict(found)


def ended_by_themselves(folder: Folder) -> dict[str, int]:
    """Services that the supervisor had to start again, and that nobody had killed."""
    log = folder.log("supervisor").read_text()
    found = Counter(ENDED.findall(log))
    return {f"{name} (exit {code})": n for (name, code), n in found.items() if name in SERVICES}


def _error(text: bytes) -> str:
    if text.startswith(b"Traceback"):
        return "traceback"
    try:
        logged = msgspec.json.decode(text, type=Logged)
    except msgspec.DecodeError:
        return ""  # a line of a traceback, or one that was cut by a kill
    return logged.event if logged.level in ("error", "critical") else ""
