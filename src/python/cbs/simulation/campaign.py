"""Many seeds on all cores; the first that breaks the bank is shrunk and told."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from cbs.simulation.plan import plan_of
from cbs.simulation.shrinking import RUNS_MAX, Shrinking, shortened, timeline
from cbs.simulation.world import History, simulate

PROGRESS_SECONDS, LINES_MAX, REQUESTS_MIN = 5.0, 400, 200

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many seeds were lived, and what the one that broke the bank was shrunk to."""

    seeds: int
    requests: int
    crashes: int
    faults: int
    seconds: float
    broken: History | None

    @property
    def held(self) -> bool:
        return self.broken is None


def run(*, first: int, seeds: int, seconds: float | None, say: Say) -> Found:
    """`seconds` is when to begin no more of them, None never."""
    tally = Tally(say)
    broken = None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, initializer=_ignore_interrupts) as pool:
        for history in _histories(pool, iter(range(first, first + seeds)), seconds):
            tally.add(history)
            if history.violation:
                broken = history
                pool.shutdown(cancel_futures=True)
                break
    tally.tell()
    if broken is not None:
        broken = _told(broken, say)
    return Found(
        seeds=tally.seeds,
        requests=tally.requests,
        crashes=tally.crashes,
        faults=tally.faults,
        seconds=round(time.monotonic() - tally.began, 1),
        broken=broken,
    )


def _histories(
    pool: ProcessPoolExecutor, seeds: Iterator[int], seconds: float | None
) -> Iterator[History]:
    until = time.monotonic() + seconds if seconds is not None else None
    under_way: set[Future[History]] = set()
    while True:
        if until is None or time.monotonic() < until:
            free = 2 * (os.cpu_count() or 1) - len(under_way)
            under_way |= {pool.submit(of_seed, seed) for seed in islice(seeds, free)}
        if not under_way:
            return
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        yield from (each.result() for each in done)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the one who told them what to do; they end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def of_seed(seed: int) -> History:
    """A day on which nothing could go wrong, because nothing was done, is no success."""
    history = simulate(plan_of(seed))
    if not history.violation and history.requests < REQUESTS_MIN:
        history.violation = f"Idle: {history.requests} requests are too few"
    if not history.violation:
        history.notes.clear()  # long, and nobody reads them
    return history


class Tally:
    """Progress, and the counts at the end."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.began = self.told = time.monotonic()
        self.seeds = self.requests = self.refused = self.faults = self.crashes = 0
        self.slowest_seconds = 0.0

    def add(self, history: History) -> None:
        self.seeds += 1
        self.requests += history.requests
        self.refused += history.refused
        self.crashes += history.plan.crashes
        self.faults += len(history.plan.faults) - history.plan.crashes
        self.slowest_seconds = max(self.slowest_seconds, history.settled_after)
        if time.monotonic() - self.told > PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        rate = self.seeds / max(self.told - self.began, 0.001)
        self.say(
            f"{self.seeds} seeds, {rate:.1f} a second: {self.requests} requests "
            f"({self.refused} refused), {self.crashes} crashes, {self.faults} other faults; "
            f"at rest {self.slowest_seconds:.1f} s after the last of them at most"
        )


def _told(broken: History, say: Say) -> History:
    seed = broken.plan.seed
    say(f"seed {seed} breaks it: {broken.violation}")
    say(f"looking for a shorter history, in {RUNS_MAX} runs at most")
    shortest = Shrinking(broken).shrink()
    for line in shortened(list(timeline(shortest)), lines_max=LINES_MAX):
        say(line)
    say(f"again: ./cbs simulate --seed {seed} --seeds 1")
    return shortest
