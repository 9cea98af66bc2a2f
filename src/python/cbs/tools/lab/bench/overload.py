"""`cbs overload`: four times the connections that give the peak must not cost the bank its peak.

Who is refused asks again at once here: who heeds Retry-After is no load, and shows nothing.
"""

import asyncio
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import asyncpg
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cbs.platform import admission, bus
from cbs.platform.invariants import CannotSay
from cbs.tools.lab.bench import load, measured_bank, verdicts
from cbs.tools.lab.bench.samples import Observer, Sample
from cbs.tools.lab.bench.verdicts import Broken, Met
from cbs.tools.local import command_line
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    DONE,
    NO,
    AsJson,
    Data,
    ends_with,
    print_json,
    print_table,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import CannotStart
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, PublicApi, RefusedByBank
from cbs.tools.local.waiting import until
from cbs.tools.ops.verify import verify

STEPS, TIMES, WARM, ROUNDS_MAX = (16, 32, 64, 128, 256), 4, 64, 3
SECONDS, SECONDS_MAX, STEP_SECONDS, STEP_SECONDS_MAX = 60, 3_600, 6, 600
CALM_SECONDS, SAMPLE_SECONDS, REST_SECONDS_MAX = 3, 1.0, 60.0
CREATED = 201
LIMITS = {
    "http": admission.IN_FLIGHT_MAX,
    "turned-away": admission.HELD_MAX,
    "bus": bus.IN_FLIGHT_MAX,
    "orders": admission.IN_FLIGHT_MAX + bus.IN_FLIGHT_MAX,
}
UNMEASURED = (
    *(CannotStart, CannotSay, NoBank, NoAnswerFromBank, RefusedByBank, OSError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError),
)


class Overload(msgspec.Struct, kw_only=True):
    """`ratio` is of the goodput under overload to the mean of the peak before and after it.

    `samples` were taken in its first round, `grown_mib` is of its last; `recovery_seconds` is null
    if the bank did not recover.
    """

    calm_ms: float
    steps: list[Met]
    peak: Met
    overload: Met
    peak_again: Met
    ratio: float
    recovery_seconds: float | None
    grown_mib: dict[str, float]
    memory_mib_before: dict[str, float]
    memory_mib_after: dict[str, float]
    queues_max: dict[str, int]
    broken: list[Broken]
    samples: list[Sample]


def overload(
    data: Data = None,
    seconds: Annotated[
        int, typer.Option(min=1, max=SECONDS_MAX, help="How long there is too much.")
    ] = SECONDS,
    step_seconds: Annotated[
        int, typer.Option(min=1, max=STEP_SECONDS_MAX, help="Of each step to the peak.")
    ] = STEP_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Find the peak, then ask four times as much, and judge what the bank does about it.

    Excess must be refused with 429 or 503 and Retry-After, goodput stay above 80 % of the peak
    while listeners keep pace, nothing grow without bound, and all be well again in seconds.
    Brings up a bank of its own, or uses the one in --data. Exit 0: so it is. 1: not. 3: unsaid.
    """
    console = command_line.console(as_json=as_json)
    with ends_with(CANNOT_SAY, *UNMEASURED), measured_bank.bank(data, console) as folder:
        found = asyncio.run(OverloadRun.of_bank(folder, console, seconds, step_seconds))
    if as_json:
        print_json(found)
    show(found, console)
    raise typer.Exit(NO if found.broken else DONE)


@dataclass(slots=True, kw_only=True)
class OverloadRun:
    """One bank and what asks it."""

    folder: Folder
    console: Console
    observer: Observer
    api: PublicApi
    job: load.Job
    runs: int = 0

    @classmethod
    async def of_bank(
        cls, folder: Folder, console: Console, seconds: int, step_seconds: int
    ) -> Overload:
        api = PublicApi.of(folder, measured_bank.USER)
        name = f"overload-{uuid.uuid4().hex[:12]}"
        console.print(f"opening {measured_bank.ACCOUNTS} accounts")
        accounts = await measured_bank.accounts(folder, name)
        job = load.Job(
            name=name,
            clients=1,
            seconds=CALM_SECONDS,
            token=api.token,
            accounts=accounts,
            http_url=api.url,
        )
        with closing(api):
            async with Observer.of(folder) as observer:
                run = cls(folder=folder, console=console, observer=observer, api=api, job=job)
                return await run.run(seconds, step_seconds)

    async def run(self, seconds: int, step_seconds: int) -> Overload:
        calm, _ = await self.met(1, CALM_SECONDS)
        await self.met(WARM, CALM_SECONDS)
        steps = [(await self.met(connections, step_seconds))[0] for connections in STEPS]
        keeping_pace = [step for step in steps if not verdicts.pace(step)]
        if not keeping_pace:
            raise CannotSay("listeners kept pace at no number of connections: there is no peak")
        peak = max(keeping_pace, key=lambda step: step.per_second)
        before = await self.observer.look()
        over, samples, late = await self.overloaded(TIMES * peak.connections, seconds)
        recovery_seconds, left = await self.recovered(2 * calm.p50_ms)
        after = await self.observer.look()
        again, _ = await self.met(peak.connections, step_seconds)
        ratio = round(2 * over.per_second / (peak.per_second + again.per_second), 2)
        return Overload(
            calm_ms=calm.p50_ms,
            steps=steps,
            peak=peak,
            overload=over,
            peak_again=again,
            ratio=ratio,
            recovery_seconds=recovery_seconds,
            grown_mib=verdicts.growth(late),
            memory_mib_before=before.memory_mib,
            memory_mib_after=after.memory_mib,
            queues_max=deepest_queues(samples),
            broken=[
                *verdicts.goodput(ratio),
                *verdicts.answers(over),
                *verdicts.excess(over),
                *verdicts.pace(over),
                *verdicts.queues(samples, LIMITS),
                *verdicts.memory(late),
                *verdicts.recovery(recovery_seconds, left),
                *verdicts.steadiness([before, after]),
                *verdicts.invariants(await broken_invariants(self.folder)),
            ],
            samples=samples,
        )

    async def overloaded(
        self, connections: int, seconds: float
    ) -> tuple[Met, list[Sample], list[Sample]]:
        """The first round, its samples, and those of the round that memory is judged by.

        What has a bound may still be on its way there in the first round: NATS keeps what it wrote
        in the last seconds, in blocks of 8 MiB. What has none grows in every round.
        """
        over, samples = await self.met(connections, seconds, rest=False)
        late = samples
        for _ in range(ROUNDS_MAX - 1):
            if verdicts.memory(late):
                _, late = await self.met(connections, seconds, rest=False)
        return over, samples, late

    async def met(
        self, connections: int, seconds: float, *, rest: bool = True
    ) -> tuple[Met, list[Sample]]:
        """Load it, looking on; with `rest`, return when nothing waits any more."""
        self.runs += 1
        job = msgspec.structs.replace(
            self.job, name=f"{self.job.name}-{self.runs}", clients=connections, seconds=seconds
        )
        loading = asyncio.create_task(asyncio.to_thread(measured_bank.run_load, job))
        samples, began = [], time.monotonic()
        while not (await asyncio.wait({loading}, timeout=SAMPLE_SECONDS))[0]:
            if (at := time.monotonic() - began) < seconds:
                samples.append(await self.observer.look(at))
        done = await loading
        met = Met(
            connections=connections,
            seconds=seconds,
            done=done.requests,
            per_second=round(done.requests / seconds, 1),
            refused=done.refused,
            without_retry_after=done.without_retry_after,
            p50_ms=done.p50_ms,
            p99_ms=done.p99_ms,
            behind_max=max((max(s.behind.values()) for s in samples), default=0),
        )
        self.console.print(line(met))
        if rest:
            await self.observer.at_rest(REST_SECONDS_MAX)
        return met, samples

    async def recovered(self, quick_ms: float) -> tuple[float | None, dict[str, int]]:
        """Seconds until nothing waits and a lone request is answered as quickly as that."""
        began, left = time.monotonic(), {}

        async def answers_quickly() -> bool:
            nonlocal left
            left = (await self.observer.look()).waiting
            return not left and await self._alone_ms() <= quick_ms

        if await until(answers_quickly, seconds=REST_SECONDS_MAX):
            return round(time.monotonic() - began, 1), {}
        return None, left

    async def _alone_ms(self) -> float:
        self.runs += 1
        payer, payee = self.job.accounts[:2]
        body = {"remitter_account": payer, "beneficiary_account": payee}
        body |= {"currency": "INR", "amount_minor": 1}  # type: ignore[dict-item]
        key, began = f"{self.job.name}-{self.runs}", time.monotonic()
        reply = await self.api.once("POST", "/v1/payments/transfers", body, key=key)
        return 1000 * (time.monotonic() - began) if reply.status == CREATED else float("inf")


async def broken_invariants(folder: Folder) -> list[str]:
    """The invariants that do not hold; raises CannotSay when one cannot be checked."""
    found = await verify.findings(verify.places_of(folder), say=lambda _: None, tell=lambda _: None)
    if unknown := [finding for finding in found if finding.outcome == "unknown"]:
        raise CannotSay(f"verify cannot say {unknown[0].promise}: {unknown[0].why}")
    return [f"{f.service}: {f.promise}" for f in found if f.outcome == "violated"]


def deepest_queues(samples: list[Sample]) -> dict[str, int]:
    """The most that each queue held, and that each listener was behind."""
    found: dict[str, int] = {}
    for sample in samples:
        for name, depth in sample.waiting.items():
            found[name] = max(found.get(name, 0), depth)
    return found


def line(met: Met) -> str:
    refused = ", ".join(f"{count} x {what}" for what, count in met.refused.items()) or "none"
    return (
        f"{met.connections:5} connections  {met.per_second:7,.0f}/s  p50 {met.p50_ms:.0f} ms"
        f"  p99 {met.p99_ms:.0f} ms  behind {met.behind_seconds_max} s  refused {refused}"
    )


def show(found: Overload, console: Console) -> None:
    memory = Table("memory MiB", "before", "after", "grown under overload")
    for part, before in found.memory_mib_before.items():
        after, grown = found.memory_mib_after.get(part, 0), found.grown_mib.get(part)
        memory.add_row(part, f"{before:.0f}", f"{after:.0f}", "" if grown is None else f"{grown}")
    print_table(memory, stderr=console.stderr)
    over, deep = found.overload, ", ".join(f"{k} {v}" for k, v in found.queues_max.items())
    seconds = found.recovery_seconds
    console.print(
        f"peak       {found.peak.per_second:,.0f}/s at {found.peak.connections} connections"
        f" ({found.peak_again.per_second:,.0f}/s afterwards)\n"
        f"overload   {over.per_second:,.0f}/s at {over.connections} connections:"
        f" {found.ratio:.2f} of the peak\n"
        f"queues     at most {deep}\n"
        f"recovery   {'none' if seconds is None else f'{seconds} s'}"
    )
    console.print("\n".join(f"BROKEN     {b.promise}: {b.found}" for b in found.broken))
