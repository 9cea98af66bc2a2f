"""The simulation sees each of the planted bugs, within a few seeds, and can say it shortly."""

import pytest

from cbs.simulation.plan import plan_of
from cbs.simulation.shrinking import Shrinking, timeline
from cbs.simulation.world import History, simulate
from tests.simulation import planted

SEEDS_MAX = 25

pytestmark = pytest.mark.timeout(400)


def caught() -> History:
    for seed in range(SEEDS_MAX):
        history = simulate(plan_of(seed))
        if history.violation:
            return history
    raise AssertionError(f"not seen in {SEEDS_MAX} seeds")


@pytest.mark.parametrize("plant", planted.BUGS, ids=lambda plant: plant.__name__)
def test_the_bug_is_seen(monkeypatch, plant):
    plant(monkeypatch)

    assert caught().violation


def test_a_failure_is_shrunk_to_what_it_needs(monkeypatch):
    planted.freeze_not_told_to_the_ledger(monkeypatch)
    broken = caught()

    shortest = Shrinking(broken, runs_left=60).shrink()

    assert shortest.violation.split(":")[:2] == broken.violation.split(":")[:2]
    assert not shortest.plan.faults  # it needs none
    assert len(shortest.plan.steps) <= 4
    assert any("/freeze" in line for line in timeline(shortest))
