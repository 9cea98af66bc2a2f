"""The bank holds in whatever the seeds make of a day, and the same seed makes the same day."""

import os
import subprocess
import sys
import time
from hashlib import sha256

import pytest

from cbs.platform.context import SOURCES
from cbs.simulation.plan import plan_of
from cbs.simulation.shrinking import timeline
from cbs.simulation.world import simulate

# In CI as many as fit; `./cbs simulate --seeds 10000` has all night.
SEEDS_MAX, SECONDS_MAX = 500, 30
SAID = """
from hashlib import sha256
from cbs.simulation.plan import plan_of
from cbs.simulation.world import simulate
print(sha256("\\n".join(simulate(plan_of({seed})).notes).encode()).hexdigest())
"""


def test_the_bank_holds():
    until = time.monotonic() + SECONDS_MAX
    for seed in range(SEEDS_MAX):
        history = simulate(plan_of(seed))

        assert not history.violation, "\n".join(timeline(history))
        assert history.requests >= 200
        if time.monotonic() > until:
            return


def test_a_seed_has_enough_in_it():
    for seed in range(100):
        plan = plan_of(seed)

        assert len(plan.steps) >= 200
        assert plan.crashes >= 3
        assert len(plan.faults) - plan.crashes >= 10


def test_the_same_seed_is_the_same_history_in_another_process():
    here = sha256("\n".join(simulate(plan_of(7)).notes).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}

    there = subprocess.run(
        [sys.executable, "-c", SAID.format(seed=7)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert there.stdout.strip() == here


def test_another_seed_is_another_history():
    assert simulate(plan_of(1)).notes != simulate(plan_of(2)).notes


@pytest.mark.parametrize("source", ["time_ns", "random_bytes"])
def test_time_and_chance_are_given_back(source):
    before = getattr(SOURCES, source)
    simulate(plan_of(3))

    assert getattr(SOURCES, source) is before
