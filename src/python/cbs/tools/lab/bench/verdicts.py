"""What a bank must not do under too much load, or under much of it for long."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from cbs.tools.lab.bench.samples import Sample

GOODPUT_MIN, SERVED_MIN = 0.8, 0.95
BEHIND_SECONDS_MAX = 5.0
RECOVERY_SECONDS_MAX = 10.0
# Of a part's memory, from the second quarter of the time to the last: more is a leak.
GROWTH_MIB_MAX, GROWTH_MAX = 16.0, 0.1
SAMPLES_MIN = 8
REFUSALS = frozenset({"429", "503"})


class Broken(msgspec.Struct, kw_only=True):
    """A promise that was not kept. `promise` is one of the words below, for a program to read."""

    promise: str
    found: str


class Met(msgspec.Struct, kw_only=True):
    """How one measured load was answered. `refused` is by status, or how it failed otherwise."""

    connections: int
    seconds: float
    done: int
    per_second: float
    refused: dict[str, int]
    without_retry_after: int
    p50_ms: float
    p99_ms: float
    behind_max: int = 0

    @property
    def behind_seconds_max(self) -> float:
        """How long ago, at this pace, the oldest fact was posted that some listener missed."""
        return round(self.behind_max / self.per_second, 1) if self.per_second else 0.0


def goodput(ratio: float) -> list[Broken]:
    if ratio >= GOODPUT_MIN:
        return []
    return [_broken("goodput", f"{ratio:.2f} of the peak was done, not {GOODPUT_MIN} of it")]


def answers(met: Met) -> list[Broken]:
    """Whatever is not done is refused, by a status that says so, with the time to come back."""
    found = []
    if other := {what: n for what, n in met.refused.items() if what not in REFUSALS}:
        found.append(_broken("only-refusals", f"{_counts(other)} beside 429 and 503"))
    if met.without_retry_after:
        said = f"{met.without_retry_after} refusals do not say when to come back (Retry-After)"
        found.append(_broken("retry-after", said))
    return found


def excess(met: Met) -> list[Broken]:
    if sum(met.refused.get(status, 0) for status in REFUSALS):
        return []
    return [_broken("excess", f"nothing was refused of what {met.connections} connections asked")]


def served(met: Met, rate: float, missed: int) -> list[Broken]:
    """What is asked at a share of the peak is done, but for a few."""
    if not missed and met.per_second >= SERVED_MIN * rate:
        return []
    said = f"{met.per_second}/s were done of {rate}/s asked for; {missed} never left the queue"
    return [_broken("served", said)]


def pace(met: Met) -> list[Broken]:
    """Listeners that fall behind make a peak that nobody could keep up."""
    if met.behind_seconds_max <= BEHIND_SECONDS_MAX:
        return []
    said = f"a listener was {met.behind_max} facts behind, {met.behind_seconds_max} s of this load"
    return [_broken("pace", said)]


def queues(samples: Sequence[Sample], limits: Mapping[str, int]) -> list[Broken]:
    """Every queue that has a limit stays within it."""
    deepest: dict[str, int] = {}
    for sample in samples:
        for name, depth in sample.queues.items():
            deepest[name] = max(deepest.get(name, 0), depth)
    return [
        _broken("queues", f"{name} held {depth}, more than {limits[name.split()[-1]]}")
        for name, depth in deepest.items()
        if depth > limits.get(name.split()[-1], depth)
    ]


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """MiB that each part's memory grew from the second quarter of the samples to the last.

    The first quarter is warming up. Medians, so that one garbage collection says nothing.
    """
    if len(samples) < SAMPLES_MIN:
        return {}
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return {part: round(_memory(late, part) - _memory(early, part), 1) for part in _parts(samples)}


def memory(samples: Sequence[Sample]) -> list[Broken]:
    found = []
    for part, grown in growth(samples).items():
        had = _memory(samples[-(len(samples) // 4) :], part) - grown
        if grown > max(GROWTH_MIB_MAX, GROWTH_MAX * had):
            said = f"{part} grew by {grown} MiB from {had:.0f} MiB after it was warm"
            found.append(_broken("memory", said))
    return found


def recovery(seconds: float | None, left: Mapping[str, int]) -> list[Broken]:
    """`seconds` is None when it had not recovered when the looking ended."""
    if seconds is not None and seconds <= RECOVERY_SECONDS_MAX:
        return []
    took = "it did not" if seconds is None else f"it took {seconds} s"
    waits = f"; still waiting: {_counts(left)}" if left else ""
    return [_broken("recovery", f"{took} come to rest and answer as before{waits}")]


def rest(left: Mapping[str, int]) -> list[Broken]:
    return [_broken("rest", f"still waiting when nobody asked: {_counts(left)}")] if left else []


def steadiness(samples: Sequence[Sample]) -> list[Broken]:
    """No part was started again, and no fact was set aside."""
    first, last = samples[0], samples[-1]
    found = []
    if last.restarts > first.restarts:
        ended = last.restarts - first.restarts
        found.append(_broken("restarts", f"{ended} parts had to be started again: ./cbs logs"))
    if last.dead_letters > first.dead_letters:
        letters = last.dead_letters - first.dead_letters
        found.append(_broken("dead-letters", f"{letters} facts could not be digested"))
    return found


def invariants(violated: Sequence[str]) -> list[Broken]:
    return [_broken("verify", f"{promise}: violated") for promise in violated]


def _parts(samples: Sequence[Sample]) -> list[str]:
    return sorted(set.intersection(*(set(sample.memory_mib) for sample in samples)))


def _memory(samples: Sequence[Sample], part: str) -> float:
    return median(sample.memory_mib[part] for sample in samples)


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in found.items())


def _broken(promise: str, found: str) -> Broken:
    return Broken(promise=promise, found=found)
