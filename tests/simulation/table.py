"""Which planted bug the simulation sees in how many: `python -m tests.simulation.table`."""

import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from cbs.simulation.plan import plan_of
from cbs.simulation.world import simulate
from tests.simulation import planted

SEEDS_DEFAULT = 25


def promise_broken(name: str, seed: int) -> str:
    """What the seed broke with this bug, in a few words; empty if nothing."""
    with pytest.MonkeyPatch.context() as patches:
        getattr(planted, name)(patches)
        violation = simulate(plan_of(seed)).violation
    return f"{violation}:".split(":")[1].strip()[:60] or violation


def main(seeds: int) -> None:
    write = sys.stdout.write
    write(f"| planted | seen in, of {seeds} seeds | most often as |\n|---|---|---|\n")
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for bug in (planted.nothing, *planted.BUGS):
            broken = Counter(pool.map(promise_broken, [bug.__name__] * seeds, range(seeds)))
            held = broken.pop("", 0)
            most = broken.most_common(1)[0][0] if broken else "-"
            write(f"| {bug.__name__.replace('_', ' ')} | {seeds - held} | {most} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS_DEFAULT)
