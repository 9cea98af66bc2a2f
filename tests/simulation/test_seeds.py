"""The bank holds in whatever the seeds make of a day, and the same seed makes the same day."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from cbs.platform.context import SOURCES
from cbs.simulation import campaign
from cbs.simulation.campaign import run
from cbs.simulation.plan import plan_of
from cbs.simulation.world import simulate

SEEDS = 150  # the night has 3,000 others (.ci/nightly)
SAID = """
from hashlib import sha256
from cbs.simulation.plan import plan_of
from cbs.simulation.world import simulate
print(sha256("\\n".join(simulate(plan_of({seed})).notes).encode()).hexdigest())
"""


@pytest.mark.timeout(850)
def test_the_bank_holds():
    said: list[str] = []

    found = run(first=0, seeds=SEEDS, seconds=None, say=said.append)

    assert found.held, "\n".join(said)
    assert found.seeds == SEEDS


def test_a_day_on_which_little_was_asked_for_is_told(monkeypatch):
    monkeypatch.setattr(campaign, "REQUESTS_MIN", 1_000)

    assert campaign.of_seed(1).violation.startswith("Idle: ")


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
