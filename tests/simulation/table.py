"""Which planted bug the simulation sees in how many: `python -m tests.simulation.table`."""

import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest

from cbs.simulation.plan import plan_of
from cbs.simulation.world import simulate
from tests.simulation import planted

SEEDS_DEFAULT = 25


def promises_broken(name: str, seed: int) -> tuple[str, str]:
    """The bug's name, and what the seed broke with it, in a few words."""
    with pytest.MonkeyPatch.context() as patches:
        getattr(planted, name)(patches.setattr)
        violation = simulate(plan_of(seed)).violation
    return name, violation.split(":")[1].strip()[:60] if violation else ""


def main(seeds: int) -> None:
    names = ["nothing", *(bug.__name__ for bug in planted.BUGS)]
    seen: dict[str, Counter[str]] = {name: Counter() for name in names}
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        tries = [pool.submit(promises_broken, name, n) for name in names for n in range(seeds)]
        for done in as_completed(tries):
            name, promise = done.result()
            seen[name] += Counter([promise] if promise else [])
    write = sys.stdout.write
    write(f"| planted | seen in, of {seeds} seeds | most often as |\n|---|---|---|\n")
    for name, broken in seen.items():
        most = broken.most_common(1)[0][0] if broken else "-"
        write(f"| {name.replace('_', ' ')} | {broken.total()} | {most} |\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS_DEFAULT)
