"""What is judged after an overload and a soak: each offence is planted, and each is seen."""

from typing import Any

import msgspec
import pytest

from cbs.tools.lab.bench import verdicts
from cbs.tools.lab.bench.mix import Window
from cbs.tools.lab.bench.overload import OverloadRun
from cbs.tools.lab.bench.page import page
from cbs.tools.lab.bench.samples import Sample
from cbs.tools.lab.bench.verdicts import Met

KEPT = Met(
    connections=512,
    seconds=60,
    done=60_000,
    per_second=1_000,
    refused={"429": 20_000, "503": 10},
    without_retry_after=0,
    p50_ms=120,
    p99_ms=250,
    behind_max=300,
)


def met(**wrong):
    return msgspec.structs.replace(KEPT, **wrong)


def promises(broken):
    return [each.promise for each in broken]


def judged(found):
    return promises(
        [
            *(*verdicts.answers(found), *verdicts.excess(found)),
            *(*verdicts.pace(found), *verdicts.served(found, 1_000, 0)),
        ]
    )


def test_a_load_that_was_met_breaks_nothing():
    assert judged(KEPT) == []
    assert verdicts.goodput(0.8) == []


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        ({"without_retry_after": 1}, "retry-after"),
        ({"refused": {"429": 9, "500": 1}}, "only-refusals"),
        ({"refused": {"429": 9, "hung up": 1}}, "only-refusals"),
        ({"refused": {}}, "excess"),
        ({"behind_max": 5_100}, "pace"),
        ({"per_second": 900.0}, "served"),
    ],
)
def test_a_load_that_was_not_met_is_told(wrong, promise):
    assert judged(met(**wrong)) == [promise]


def test_goodput_that_collapses_is_told():
    (broken,) = verdicts.goodput(0.79)
    assert broken.promise == "goodput"
    assert "0.79" in broken.found


def test_what_never_left_the_queue_is_told():
    assert promises(verdicts.served(KEPT, 1_000, missed=3)) == ["served"]


def samples(*mib, **wrong):
    return [Sample(at_seconds=10 * n, memory_mib={"ledger": m}, **wrong) for n, m in enumerate(mib)]


def test_memory_that_goes_on_growing_is_told():
    leaking = samples(*(100 + 2 * n for n in range(40)))

    (broken,) = verdicts.memory(leaking)
    assert broken.promise == "memory"
    assert "ledger grew by 40" in broken.found


@pytest.mark.parametrize(
    "mib",
    [
        # Warming up, then steady; one collection late; a little, forever; too few to say.
        [20 * n for n in range(10)] + [200] * 30,
        [100] * 38 + [400] + [100],
        [100 + 0.1 * n for n in range(40)],
        [100, 900],
    ],
)
def test_memory_that_is_only_warming_up_is_not(mib):
    assert verdicts.memory(samples(*mib)) == []


@pytest.mark.parametrize(
    ("rounds", "asked", "broken"),
    [
        ([[100] * 40], 1, []),
        ([[100 + 2 * n for n in range(40)], [180] * 40], 2, []),
        ([[100 + 2 * n + 80 * ago for n in range(40)] for ago in range(3)], 3, ["memory"]),
    ],
)
async def test_an_overload_goes_on_until_what_grew_has_reached_its_bound(rounds, asked, broken):
    left = iter(rounds)

    class Rounds(OverloadRun):
        async def met(self, connections, seconds, *, rest=True):
            self.runs += 1
            return KEPT, samples(*next(left))

    nobody: Any = None
    trial = Rounds(folder=nobody, console=nobody, observer=nobody, api=nobody, job=nobody)
    over, first, last = await trial.overloaded(512, 60)

    assert (over, first, trial.runs) == (KEPT, samples(*rounds[0]), asked)
    assert promises(verdicts.memory(last)) == broken


def test_a_queue_over_its_limit_is_told():
    limits = {"http": 128}
    within = Sample(queues={"payments http": 128, "ledger outbox": 9_999})
    over = Sample(queues={"payments http": 129})

    assert verdicts.queues([within], limits) == []
    (broken,) = verdicts.queues([within, over], limits)
    assert broken.found == "payments http held 129, more than 128"


@pytest.mark.parametrize("seconds", [None, 10.1])
def test_a_bank_that_does_not_recover_is_told(seconds):
    (broken,) = verdicts.recovery(seconds, {"audit hears ledger": 7})
    assert broken.promise == "recovery"
    assert "7 audit hears ledger" in broken.found
    assert verdicts.recovery(9.9, {}) == []


def test_what_was_started_again_set_aside_or_left_waiting_is_told():
    calm, shaken = Sample(), Sample(restarts=1, dead_letters=2)

    assert promises(verdicts.steadiness([calm, shaken])) == ["restarts", "dead-letters"]
    assert verdicts.steadiness([shaken, shaken]) == []
    assert promises(verdicts.rest({"ledger outbox": 1})) == ["rest"]
    assert verdicts.rest({}) == []
    assert promises(verdicts.invariants(["ledger: legs sum to zero"])) == ["verify"]


def test_the_page_has_a_line_for_each_part_and_needs_nothing_else():
    windows = [Window(at_seconds=10 * n, seconds=10, done=n, p99_ms=n) for n in range(1, 4)]
    looked = samples(50, 60, 55, behind={"audit hears ledger": 3})

    text = page(windows, looked)

    assert text.count("<svg") == 5
    assert ">ledger</span>" in text
    assert "http" not in text and "src=" not in text
