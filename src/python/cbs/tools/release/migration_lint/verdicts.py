"""Of several verdicts on one statement the worst counts, and all reasons are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """EXPAND: the running version works on. CONTRACT: it must be gone. UNKNOWN: nobody can say."""

    EXPAND = "expand"
    CONTRACT = "contract"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    step: Step
    why: str
    takes_away: tuple[str, ...] = ()


def expand(why: str) -> Verdict:
    return Verdict(Step.EXPAND, why)


def unknown(why: str) -> Verdict:
    return Verdict(Step.UNKNOWN, why)


def contract(why: str, *takes_away: str) -> Verdict:
    return Verdict(Step.CONTRACT, why, takes_away)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    order = (Step.CONTRACT, Step.UNKNOWN, Step.EXPAND)
    steps = {verdict.step for verdict in verdicts}
    return Verdict(
        next(step for step in order if step in steps),
        "; ".join(dict.fromkeys(verdict.why for verdict in verdicts)),
        tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.takes_away)),
    )
