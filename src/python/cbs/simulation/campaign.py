"""Many seeds on all cores; the first that breaks the bank is shrunk and told."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice

from cbs.simulation.plan import plan_of
from cbs.simulation.shrinking import RUNS_MAX, Shrinking, shortened, timeline
from cbs.simulation.world import History, simulate

PROGRESS_SECONDS, LINES_MAX = 5.0, 400

Say = Callable[[str], None]


def run(*, first: int, seeds: int, seconds: float | None, say: Say) -> bool:
    """Whether the bank held; `seconds` is when to stop, None never."""
    tally = Tally(say)
    broken = None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for history in _histories(pool, iter(range(first, first + seeds)), seconds):
            tally.add(history)
            if history.violation:
                broken = history
                pool.shutdown(cancel_futures=True)
                break
    tally.tell()
    if broken is not None:
        _tell(broken, say)
    return broken is None


def _histories(
    pool: ProcessPoolExecutor, seeds: Iterator[int], seconds: float | None
) -> Iterator[History]:
    until = time.monotonic() + seconds if seconds is not None else None
    under_way: set[Future[History]] = set()
    while True:
        if until is None or time.monotonic() < until:
            free = 2 * (os.cpu_count() or 1) - len(under_way)
            under_way |= {pool.submit(_one, seed) for seed in islice(seeds, free)}
        if not under_way:
            return
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        yield from (each.result() for each in done)


def _one(seed: int) -> History:
    history = simulate(plan_of(seed))
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


def _tell(broken: History, say: Say) -> None:
    seed = broken.plan.seed
    say(f"seed {seed} breaks it: {broken.violation}")
    say(f"looking for a shorter history, in {RUNS_MAX} runs at most")
    for line in shortened(list(timeline(Shrinking(broken).shrink())), lines_max=LINES_MAX):
        say(line)
    say(f"again: ./cbs simulate --seed {seed} --seeds 1")
