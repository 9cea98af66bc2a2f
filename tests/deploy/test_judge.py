"""What is worse is seen, and soon; what is chance is not."""

import random

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from cbs.tools.release.deploy import judge
from cbs.tools.release.deploy.judge import LOOKS_MAX, CanaryWindow, binomial_tail, tail
from cbs.tools.release.deploy.metrics_samples import InstanceSample, sample_of
from cbs.tools.release.gate.records import GateAnswer

YES, NO, UNKNOWN = GateAnswer.YES, GateAnswer.NO, GateAnswer.UNKNOWN


def window(canary: InstanceSample, stable: InstanceSample | None, **more) -> CanaryWindow:
    known = {"requests_min": 100, **more}
    return CanaryWindow(canary=canary, stable=stable, seconds=60.0, **known)


def failing(requests: int, errors: int) -> InstanceSample:
    return InstanceSample(requests=requests, errors=errors)


def slow(requests: int, over_10: int, over_100: int = 0) -> InstanceSample:
    slower = {0.01: over_10, 0.1: over_100, 1.0: 0}
    return InstanceSample(requests=requests, slower=slower)


@pytest.mark.parametrize(
    ("canary", "stable", "answer"),
    [
        pytest.param((200, 0), (2000, 0), YES, id="none fails"),
        pytest.param((200, 1), (2000, 0), YES, id="one is chance"),
        pytest.param((30, 3), (600, 0), NO, id="one in ten, after thirty"),
        pytest.param((200, 20), (2000, 0), NO, id="one in ten"),
        pytest.param((200, 20), (2000, 200), YES, id="all fail as often: not the canary"),
        pytest.param((10, 1), (1000, 0), UNKNOWN, id="one of ten may be chance: too few"),
        pytest.param((0, 0), (1000, 0), UNKNOWN, id="no request"),
        pytest.param((30, 10), None, NO, id="nothing to compare with, and bad"),
        pytest.param((200, 1), None, YES, id="nothing to compare with, and good"),
        pytest.param((10**6, 1500), (10**6, 1000), YES, id="certain, and too little to matter"),
    ],
)
def test_errors(canary, stable, answer):
    beside = failing(*stable) if stable else None

    reason = judge.errors(window(failing(*canary), beside))

    assert reason.answer is answer, reason.why
    assert str(canary[0]) in reason.why


def test_a_no_is_told_with_its_numbers():
    reason = judge.errors(window(failing(200, 20), failing(2000, 2)))

    assert reason.why.startswith(
        "of the canary's requests 20 of 200 (10.0%) failed, of the stable instances 2 of 2000"
        " (0.1%): chance 1 in "
    )
    assert reason.todo


def test_too_few_are_told_with_their_numbers():
    reason = judge.errors(window(failing(7, 0), failing(70, 0)))

    assert reason.why == ("too few to say: the canary answered 7 requests in 60 s, 100 are needed")


@pytest.mark.parametrize(
    ("canary", "stable", "answer"),
    [
        pytest.param(slow(200, 8), slow(2000, 80), YES, id="as fast"),
        pytest.param(slow(200, 80), slow(2000, 80), NO, id="ten times as often slow"),
        pytest.param(slow(200, 16), slow(2000, 80), YES, id="twice, and hardly more"),
        pytest.param(slow(20, 2), slow(2000, 80), UNKNOWN, id="too few"),
        pytest.param(slow(200, 190, 5), slow(2000, 1900, 60), YES, id="both slow"),
        pytest.param(slow(200, 190, 100), slow(2000, 1900, 60), NO, id="slow, and slower"),
    ],
)
def test_latency(canary, stable, answer):
    reason = judge.latency(window(canary, stable))

    assert reason.answer is answer, reason.why


def half_a_second(requests: int, slow: int) -> InstanceSample:
    return InstanceSample(requests=requests, slower={0.1: slow, 0.25: slow, 0.5: slow, 1.0: 0})


@pytest.mark.parametrize(
    ("canary", "stable", "answer"),
    [
        pytest.param((300, 3), (3000, 3), YES, id="the objective is met"),
        pytest.param((300, 15), (3000, 3), NO, id="one in twenty"),
        pytest.param((300, 15), (3000, 150), YES, id="the machine is slow, not the canary"),
        pytest.param((200, 4), (500, 1), UNKNOWN, id="it may be chance: looked at longer"),
        pytest.param((100, 1), (1000, 0), YES, id="one is chance"),
        pytest.param((10, 0), (1000, 0), UNKNOWN, id="too few"),
        pytest.param((300, 15), None, NO, id="nothing to compare with, and slow"),
        pytest.param((300, 3), None, YES, id="nothing to compare with, and well"),
    ],
)
def test_the_objective(canary, stable, answer):
    beside = half_a_second(*stable) if stable else None

    reason = judge.objective(window(half_a_second(*canary), beside))

    assert reason.answer is answer, reason.why
    if answer is not YES and canary[1]:
        assert "took over 250 ms, the objective allows 1%" in reason.why


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.05])
def test_noise_misses_the_objective_for_hardly_any_good_release(rate):
    rng = random.Random(20261130)

    assert sum(_misses(rng, rate=rate, canary_rate=rate) for _ in range(200)) <= 2


def test_one_in_twenty_misses_the_objective_before_the_looks_are_over():
    rng = random.Random(20261130)

    assert all(_misses(rng, rate=0.001, canary_rate=0.05) for _ in range(100))


def _misses(rng: random.Random, *, rate: float, canary_rate: float) -> bool:
    canary, stable = [0, 0], [0, 0]
    for _ in range(LOOKS_MAX):
        for counts, each, n in ((canary, canary_rate, 20), (stable, rate, 180)):
            counts[0] += n
            counts[1] += sum(rng.random() < each for _ in range(n))
        reason = judge.objective(window(half_a_second(*canary), half_a_second(*stable)))
        if reason.answer is NO:
            return True
    return reason.answer is UNKNOWN


def test_what_is_not_ready_is_not_healthy():
    unready = InstanceSample(ready=False, why="http://x/health/ready says 503")

    assert judge.health("", window(InstanceSample(), None)).answer is YES
    assert judge.health("", window(unready, None)).answer is NO
    assert "503" in judge.health("", window(unready, None)).why
    assert judge.health("the allocation failed", window(InstanceSample(), None)).answer is NO


def test_noise_sends_back_hardly_any_good_release():
    """Seeded, over the looks that a judge takes: as many errors with both, by nature."""
    rng = random.Random(20261125)
    sent_back = sum(_sent_back(rng, rate=0.01) for _ in range(400))

    assert sent_back <= 4  # one in a hundred is what the judge promises


def test_one_in_ten_is_seen_within_a_hundred_requests():
    rng = random.Random(20261125)

    assert all(_sent_back(rng, rate=0.001, canary_rate=0.1) for _ in range(100))


def _sent_back(rng: random.Random, *, rate: float, canary_rate: float | None = None) -> bool:
    canary, stable = [0, 0], [0, 0]
    for _ in range(LOOKS_MAX):
        for counts, each, n in ((canary, canary_rate or rate, 10), (stable, rate, 30)):
            counts[0] += n
            counts[1] += sum(rng.random() < each for _ in range(n))
        seen = window(failing(*canary), failing(*stable))
        if judge.errors(seen).answer is NO:
            return True
    return False


def test_the_tails_are_those_of_the_textbook():
    # Fisher's lady tasting tea: all four cups right, of eight.
    assert tail(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert tail(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert tail(0, 10, 0, 10) == pytest.approx(1.0)
    assert binomial_tail(2, 2, 0.5) == pytest.approx(0.25)
    assert binomial_tail(0, 5, 0.001) == 1.0


def test_counters_are_read_as_the_services_write_them():
    registry = CollectorRegistry()
    names = ["protocol", "operation", "outcome"]
    requests = Counter("cbs_requests_total", "Requests answered", names, registry=registry)
    seconds = Histogram(
        "cbs_request_seconds", "Time", names[:2], buckets=(0.01, 0.1), registry=registry
    )
    for labels, many in {
        ("http", "post", "201"): 5,
        ("http", "post", "409"): 3,
        ("http", "post", "503"): 2,
        ("bus", "ask", "ok"): 4,
        ("bus", "ask", "insufficient-funds"): 3,
        ("bus", "ask", "error"): 1,
        ("bus", "ask", "timeout"): 1,
    }.items():
        requests.labels(*labels).inc(many)
    for took in (0.001, 0.05, 0.05, 7):
        seconds.labels("http", "post").observe(took)

    sample = sample_of(generate_latest(registry).decode())

    assert (sample.requests, sample.errors) == (19, 4)
    assert sample.slower == {0.01: 3, 0.1: 1}


def test_what_happened_is_the_difference_of_two_samples():
    earlier = InstanceSample(requests=10, errors=1, slower={0.1: 2})
    later = InstanceSample(requests=15, errors=3, slower={0.1: 3})

    assert later.since(earlier) == InstanceSample(requests=5, errors=2, slower={0.1: 1})
    assert earlier.since(later) == earlier  # it began anew
    assert later + earlier == InstanceSample(requests=25, errors=4, slower={0.1: 5})
