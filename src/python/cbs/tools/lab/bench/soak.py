"""`cbs soak`: an hour of a day's traffic at a share of the peak, after which nothing has grown."""

import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from cbs.platform.invariants import CannotSay
from cbs.tools.lab.bench import measured_bank, verdicts
from cbs.tools.lab.bench.mix import Mix, Window
from cbs.tools.lab.bench.overload import LIMITS, UNMEASURED, broken_invariants, deepest_queues
from cbs.tools.lab.bench.page import page
from cbs.tools.lab.bench.samples import Observer, Sample
from cbs.tools.lab.bench.verdicts import Broken, Met
from cbs.tools.local import command_line
from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, Data, ends_with, print_json
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.process import mortal
from cbs.tools.local.public_api import PublicApi

MINUTES, MINUTES_MAX, SHARE = 60.0, 7 * 24 * 60.0, 0.7
CLIENTS, WARM_SECONDS, PEAK_SECONDS = (64, 128), 5.0, 15.0
WINDOW_SECONDS, WINDOWS_MIN, REST_SECONDS_MAX = 10.0, 12, 60.0


class Soak(msgspec.Struct, kw_only=True):
    """`peak_per_second` is of the same mixture, closed loop; `asked_per_second` its share.

    `bytes_per_done` is what the databases and the streams grew for each answered request.
    """

    minutes: float
    peak_per_second: float
    asked_per_second: float
    met: Met
    windows: list[Window]
    samples: list[Sample]
    grown_mib: dict[str, float]
    queues_max: dict[str, int]
    bytes_per_done: int
    rest_seconds: float
    broken: list[Broken]


def soak(
    data: Data = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=MINUTES_MAX, help="How long, the peak not counted.")
    ] = MINUTES,
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Of the peak, asked for all the time.")
    ] = SHARE,
    to_page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write an HTML page of lines.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for 70 % of the peak for an hour, mixed as in life, and judge what became of it.

    No error but a refusal, no memory that goes on growing, every queue empty afterwards, and every
    invariant holds. Brings up a bank of its own, or uses the one in --data. Exit 0: so it is.
    1: not. 3: it cannot be said.
    """
    console = command_line.console(as_json=as_json)
    with ends_with(CANNOT_SAY, *UNMEASURED), measured_bank.bank(data, console) as folder:
        found = asyncio.run(soak_bank(folder, console, minutes, share))
    if as_json:
        print_json(found)
    if to_page is not None:
        write_whole(to_page, page(found.windows, found.samples))
    show(found, console)
    raise typer.Exit(NO if found.broken else DONE)


async def soak_bank(folder: Folder, console: Console, minutes: float, share: float) -> Soak:
    api = PublicApi.of(folder, measured_bank.USER)
    name = f"soak-{uuid.uuid4().hex[:12]}"
    console.print(f"opening {measured_bank.ACCOUNTS} accounts")
    seconds = 60 * minutes
    job = Mix(
        name=name,
        seconds=seconds,
        window_seconds=min(WINDOW_SECONDS, seconds / WINDOWS_MIN),
        token=api.token,
        # Under keys of their own: the traffic numbers its requests, too.
        accounts=await measured_bank.accounts(folder, f"{name}-holder"),
        http_url=api.url,
    )
    async with Observer.of(folder) as observer:
        return await SoakRun(folder=folder, console=console, observer=observer, job=job).run(share)


@dataclass(slots=True, kw_only=True)
class SoakRun:
    """The bank, the traffic that it lies in, and who looks on."""

    folder: Folder
    console: Console
    observer: Observer
    job: Mix

    async def run(self, share: float) -> Soak:
        peak = await self._peak()
        rate = round(share * peak, 1)
        self.console.print(f"peak {peak:,.0f}/s; asking for {rate:,.0f}/s from now on")
        before = await self.observer.look(disk=True)
        windows: list[Window] = []
        samples: list[Sample] = []
        job = msgspec.structs.replace(self.job, rate=rate)
        async for window in windows_of(job):
            windows.append(window)
            samples.append(await self.observer.look(window.at_seconds, disk=True))
            self.console.print(line(window, samples[-1]))
        ended = time.monotonic()
        left = await self.observer.at_rest(REST_SECONDS_MAX)
        rest_seconds = round(time.monotonic() - ended, 1)
        met = sum_of(windows, samples)
        grown = 2**20 * (samples[-1].disk_mib - before.disk_mib)
        return Soak(
            minutes=round(job.seconds / 60, 2),
            peak_per_second=peak,
            asked_per_second=rate,
            met=met,
            windows=windows,
            samples=samples,
            grown_mib=verdicts.growth(samples),
            queues_max=deepest_queues(samples),
            bytes_per_done=round(grown / max(met.done, 1)),
            rest_seconds=rest_seconds,
            broken=[
                *verdicts.served(met, rate, sum(window.missed for window in windows)),
                *verdicts.answers(met),
                *verdicts.pace(met),
                *verdicts.queues(samples, LIMITS),
                *verdicts.memory(samples),
                *verdicts.rest(left),
                *verdicts.steadiness([before, samples[-1]]),
                *verdicts.invariants(await broken_invariants(self.folder)),
            ],
        )

    async def _peak(self) -> float:
        """The most of this mixture that is done a second, closed loop."""
        found: list[float] = []
        for clients, seconds in ((CLIENTS[0], WARM_SECONDS), *((n, PEAK_SECONDS) for n in CLIENTS)):
            job = msgspec.structs.replace(
                self.job,
                name=f"{self.job.name}-{len(found)}-",
                clients=clients,
                seconds=seconds,
                window_seconds=2 * seconds,
            )
            windows = [window async for window in windows_of(job)]
            found.append(round(sum(window.done for window in windows) / seconds, 1))
            self.console.print(f"{clients:5} clients  {found[-1]:,.0f}/s")
            await self.observer.at_rest(REST_SECONDS_MAX)
        if not (peak := max(found[1:])):
            raise CannotSay("nothing was done: see ./cbs logs")
        return peak


async def windows_of(job: Mix) -> AsyncIterator[Window]:
    """What the load says of each window, while it runs; raises CannotSay if it fails."""
    process = await asyncio.create_subprocess_exec(
        *mortal([sys.executable, "-P", "-m", "cbs.tools.lab.bench.mix"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
        async for text in process.stdout:
            yield msgspec.json.decode(text, type=Window)
        if await process.wait():
            raise CannotSay(f"the load ended with exit {process.returncode}; what it said is above")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def sum_of(windows: list[Window], samples: list[Sample]) -> Met:
    """All windows as one load; its latencies are those of the worst window."""
    seconds, done = sum(window.seconds for window in windows), sum(w.done for w in windows)
    refused: Counter[str] = Counter()
    for window in windows:
        refused.update(window.refused)
    return Met(
        connections=0,
        seconds=round(seconds, 1),
        done=done,
        per_second=round(done / seconds, 1),
        refused=dict(refused),
        without_retry_after=sum(window.without_retry_after for window in windows),
        p50_ms=max(window.p50_ms for window in windows),
        p99_ms=max(window.p99_ms for window in windows),
        behind_max=max(max(sample.behind.values()) for sample in samples),
    )


def line(window: Window, sample: Sample) -> str:
    refused = ", ".join(f"{count} x {what}" for what, count in window.refused.items()) or "none"
    return (
        f"{window.at_seconds:6.0f} s  {window.done / window.seconds:6,.0f}/s"
        f"  p50 {window.p50_ms:.0f} ms  p99 {window.p99_ms:.0f} ms  refused {refused}"
        f"  behind {max(sample.behind.values())}  {sum(sample.memory_mib.values()):,.0f} MiB"
        f"  disk {sample.disk_mib:,.0f} MiB"
    )


def show(found: Soak, console: Console) -> None:
    met = found.met
    refused = ", ".join(f"{count} x {what}" for what, count in met.refused.items()) or "none"
    grown = ", ".join(f"{part} {mib:+.1f}" for part, mib in found.grown_mib.items())
    console.print(
        f"asked      {found.asked_per_second:,.0f}/s of a peak of {found.peak_per_second:,.0f}/s,"
        f" for {found.minutes:g} minutes\n"
        f"done       {met.done:,} or {met.per_second:,.1f}/s, refused {refused}\n"
        f"worst      p50 {met.p50_ms:.0f} ms, p99 {met.p99_ms:.0f} ms in one window\n"
        f"memory     MiB from the second quarter to the last: {grown}\n"
        f"queues     at most {', '.join(f'{k} {v}' for k, v in found.queues_max.items())}\n"
        f"disk       {found.bytes_per_done:,} bytes for each request\n"
        f"rest       after {found.rest_seconds} s"
    )
    console.print("\n".join(f"BROKEN     {b.promise}: {b.found}" for b in found.broken))
