"""Faults come from a seed, round by round, so that every part and every pair has its share of them.

A round kills every part once, in a random order at random moments; it cuts, stalls and slows links
between parts, loses answers of COMMITs, moves a clock, and does one worse thing.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import cycle, islice
from random import Random
from typing import NamedTuple, TypeVar

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.lab.chaos import faulty_network

KILL = "kill"  # SIGKILL
CUT = "cut"  # PostgreSQL ends a service's sessions
STOP = "stop"  # SIGSTOP, and SIGCONT
LOSE = "lose"  # all of NATS's data
FULL = "full"  # a server's disk
SEVER, STALL, SLOW = "sever", "stall", "slow"  # what lies between two parts
UNSAID = "unsaid"  # a COMMIT is done, and its answer lost
CLOCK = "clock"  # of one service
KINDS = (KILL, CUT, STOP, LOSE, FULL, SEVER, STALL, SLOW, UNSAID, CLOCK)

PARTS = (*SERVICES, "nats", "edge", "postgres")
# What the clients of this make commit, and who listens: nobody registers as a customer.
ASKED = ("accounts", "ledger", "payments")
COMMITTING = tuple(each for each in SERVICES if each in ASKED or declaration_of(each).hears)
PAUSE_SECONDS, SHORT_PAUSE_SECONDS = (0.5, 4.0), (0.1, 1.0)
# Longer than every timeout: a request has 20 s at the client, a statement 20 s, a lease 6 s.
STOPPED_SECONDS = 22.0
FULL_SECONDS = 8.0
SEVERED_SECONDS, STALLED_SECONDS, SLOW_SECONDS = (0.1, 3.0), (0.5, 8.0), (0.02, 0.25)
EACH_ROUND = {SEVER: 4, STALL: 2, SLOW: 4, UNSAID: 2, CLOCK: 1, CUT: 1}
# A little, past midnight, and the wrong day; ahead or behind.
MOVED_SECONDS = (90.0, 3_600.0 * 7, 3_600.0 * 50)


class PlannedFault(NamedTuple):
    """`measure` is seconds: how long it lasts, how slow it is, or how far a clock is moved."""

    after_seconds: float
    kind: str
    part: str
    measure: float = 0


T = TypeVar("T")


def rounds(seed: int, only: Collection[str] = KINDS) -> Iterator[list[PlannedFault]]:
    """Endlessly. What is worse than a kill takes turns, a round each."""
    random = Random(f"faults-{seed}")
    parts = {kind: _turns(random, _candidates(kind)) for kind in EACH_ROUND}
    while True:
        for turn in range(seed, seed + 3):
            planned = [(KILL, part) for part in random.sample(PARTS, len(PARTS))]
            more = [
                (kind, part) for kind, n in EACH_ROUND.items() for part in islice(parts[kind], n)
            ]
            for each in (*more, *_worse(turn, random)):
                planned.insert(random.randrange(len(planned)), each)
            # All is drawn, also what is left out: a seed's faults are the same with fewer kinds.
            drawn = [_fault(random, kind, part) for kind, part in planned]
            yield [fault for fault in drawn if fault.kind in only]


def _candidates(kind: str) -> Sequence[str]:
    between = dict.fromkeys((SEVER, STALL, SLOW), faulty_network.NAMES)
    return between.get(kind) or (COMMITTING if kind == UNSAID else SERVICES)


def _worse(turn: int, random: Random) -> list[tuple[str, str]]:
    if turn % 3 == 0:
        return [(FULL, "postgres"), (FULL, "nats")]
    return [(STOP, random.choice(PARTS))] if turn % 3 == 1 else [(LOSE, "nats")]


def _turns(random: Random, candidates: Sequence[T]) -> Iterator[T]:
    """All of them before any comes again."""
    return cycle(random.sample(candidates, len(candidates)))


def _fault(random: Random, kind: str, part: str) -> PlannedFault:
    short = kind in (SEVER, STALL, SLOW, UNSAID, CLOCK)
    after = random.uniform(*(SHORT_PAUSE_SECONDS if short else PAUSE_SECONDS))
    measure = {
        STOP: STOPPED_SECONDS,
        FULL: FULL_SECONDS,
        SEVER: random.uniform(*SEVERED_SECONDS),
        STALL: random.uniform(*STALLED_SECONDS),
        SLOW: random.uniform(*SLOW_SECONDS),
        CLOCK: random.choice(MOVED_SECONDS) * random.choice((1, -1)),
    }
    return PlannedFault(after, kind, part, measure.get(kind, 0))
