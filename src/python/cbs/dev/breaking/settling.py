"""After the trouble the bank converges by itself, answers what was left open, and is whole."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec

from cbs.dev.breaking import population
from cbs.dev.breaking.client import Holder, once
from cbs.dev.breaking.records import (
    Asked,
    Due,
    Records,
    Violation,
    leaking_freezes,
)
from cbs.dev.demonstrating.workers import each
from cbs.dev.folder import SERVICES, Folder, connections_of
from cbs.dev.public_api import NoAnswer, PublicApi, Refused
from cbs.dev.running import health, state
from cbs.dev.verifying.snapshots import CannotSay, Snapshots
from cbs.dev.verifying.verify import places_of

READY_SECONDS_MAX, CONVERGED_SECONDS_MAX, ANSWERED_SECONDS_MAX = 180.0, 120.0, 60.0
POLL_SECONDS, AT_ONCE = 0.1, 16
SAMPLE_MAX = 300
ENDED = re.compile(r"^\S+ (\S+) ended \(exit (?!-9\))(-?\d+|None)\)", re.M)
UNSETTLED = (CannotSay, NoAnswer, Refused)


class Convergence(msgspec.Struct, kw_only=True):
    """Seconds from when the last part was ready: until no queue had anything in it, and until every
    listener had heard everything, too; `queues`: when each was last seen with something in it."""

    queues_seconds: float = 0
    seconds: float = 0
    queues: dict[str, float] = {}


class Resolved(msgspec.Struct, kw_only=True):
    """What the unanswered turned out to be when asked about, and how repeating them ended."""

    had_no_effect: int = 0
    under_way: int = 0
    was_answered: int = 0
    accepted: int = 0
    refused: int = 0


class Request(msgspec.Struct, kw_only=True):
    state: str
    status: int | None = None
    answer: msgspec.Raw = msgspec.Raw(b"null")


async def converge(folder: Folder, violations: list[Violation]) -> Convergence:
    """Wait until all is ready, then until nothing waits and every listener has heard it all."""

    def broken(about: str, found: str) -> None:
        promise = "any part can be killed, and the bank converges by itself"
        violations.append(Violation(promise=promise, about=about, found=found))

    found = Convergence()
    if late := await _until(READY_SECONDS_MAX, lambda: _not_ready(folder)):
        broken(f"not ready after {READY_SECONDS_MAX:.0f} s", ", ".join(late))
        return found
    ready_at = time.monotonic()

    def waiting() -> dict[str, int]:
        still = _waiting(folder)
        found.queues |= dict.fromkeys(still, round(time.monotonic() - ready_at, 1))
        return still

    left = await _until(CONVERGED_SECONDS_MAX, waiting)
    found.queues_seconds = round(time.monotonic() - ready_at, 1)
    if left:
        broken(f"not empty after {CONVERGED_SECONDS_MAX:.0f} s", str(left))
    hears = {service: connections_of(service).hears for service in SERVICES}
    snapshots = Snapshots(places=places_of(folder), hears=hears)
    snapshots.fence_seconds_max = CONVERGED_SECONDS_MAX
    async with snapshots.taken(lambda _: None):
        for why in snapshots.behind.values():
            broken("a listener is behind", why)
    found.seconds = round(time.monotonic() - ready_at, 1)
    return found


async def _until(seconds_max: float, left: Callable[[], dict[str, int]]) -> dict[str, int]:
    """What is left when nothing is, or when it has taken too long."""
    deadline = time.monotonic() + seconds_max
    while True:
        still = await asyncio.to_thread(left)
        if not still or time.monotonic() > deadline:
            return still
        await asyncio.sleep(POLL_SECONDS)


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
    found = {}
    for part in running.programs if running else ():
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{part.pid}/status").read_text().splitlines()
            found[part.name] = int(next(x for x in lines if x.startswith("VmRSS")).split()[1]) >> 10
    return found


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


@dataclass(slots=True, kw_only=True)
class Settlement:
    """Asks the bank, as the clients' own user, what became of everything."""

    api: PublicApi
    records: Records
    holders: list[Holder]
    random: Random
    due: Due = field(default_factory=Due)
    resolved: Resolved = field(default_factory=Resolved)
    repeated: int = 0
    _sample: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        for holder in self.holders:
            self.due.holder(number=holder.number, customer=holder.customer_id)

    async def __call__(self) -> list[Violation]:
        """Settle what was asked since the last time; what is wrong with it, or with the whole."""
        await each([a for a in self.records.all if a.unanswered], self._resolve, at_once=AT_ONCE)
        done = self.records.fold()
        self.due.add(done)
        told = [asked for asked in (*self._sample, *done) if not asked.unanswered]
        self._sample = self.random.sample(told, min(len(told), SAMPLE_MAX))
        await each(self._sample, self._again, at_once=AT_ONCE)
        return [*self.due.unlike(await self._found()), *leaking_freezes(done)]

    async def _resolve(self, asked: Asked) -> None:
        """Ask what became of it, then ask for it again until it is answered."""
        said = await self._said_of(asked)
        if said is None:
            self.resolved.had_no_effect += 1
        elif said.status is None:
            self.resolved.under_way += 1
        else:
            self.resolved.was_answered += 1
        await self._repeat(asked)
        self.resolved.accepted += asked.accepted
        self.resolved.refused += asked.refused
        if said is not None:
            self._agrees(asked, said)

    async def _again(self, asked: Asked) -> None:
        """What was answered is asked for again: the same bytes, and no second effect."""
        self.repeated += 1
        said = await self._said_of(asked)
        if said is not None:
            self._agrees(asked, said)
        elif asked.accepted:
            self.records.contradicted(asked, "accepted, and its key is not known")
        await self._repeat(asked)

    async def _found(self) -> Due:
        found = Due()

        async def look(holder: Holder) -> None:
            one = await population.account(self.api, holder.number)
            found.balances[holder.number] = one.balance_minor or 0
            found.terms[holder.number] = (one.version, one.frozen is not None)
            listed = await population.accounts_of(self.api, holder.customer_id)
            found.openings[holder.customer_id] = [account.number for account in listed]

        await each(self.holders, look, at_once=AT_ONCE)
        return found

    async def _said_of(self, asked: Asked) -> Request | None:
        try:
            return await self.api.get(f"/v1/{asked.service}/requests/{asked.key}", Request)
        except Refused as refusal:
            if refusal.code != "no-such-request":
                raise
            return None

    async def _repeat(self, asked: Asked) -> None:
        deadline = time.monotonic() + ANSWERED_SECONDS_MAX
        while not await once(self.api, self.records, asked):
            if time.monotonic() > deadline:
                self.records.contradicted(asked, f"no answer in {ANSWERED_SECONDS_MAX:.0f} s")
                return
            await asyncio.sleep(POLL_SECONDS)

    def _agrees(self, asked: Asked, said: Request) -> None:
        """What was said of a request is what asking for it again gives."""
        if said.status is None or asked.unanswered:
            return
        if (said.status, bytes(said.answer)) != (asked.status, asked.answer):
            kept = f"{said.status} {bytes(said.answer)[:300].decode()}"
            told = f"{asked.status} {asked.answer[:300].decode()}"
            self.records.contradicted(asked, f"kept {kept}, told {told}")
