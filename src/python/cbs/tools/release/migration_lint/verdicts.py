"""Of several verdicts on one statement the worst counts, and all reasons are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class MigrationStep(StrEnum):
    """EXPAND: the running version works on. CONTRACT: it must be gone. UNKNOWN: nobody can say."""

    EXPAND = "expand"
    CONTRACT = "contract"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StatementVerdict:
    """`decided` is the word of whoever cleared it in a comment."""

    step: MigrationStep
    why: str
    takes_away: tuple[str, ...] = ()
    decided: str = ""


def expand(why: str) -> StatementVerdict:
    return StatementVerdict(MigrationStep.EXPAND, why)


def unknown(why: str) -> StatementVerdict:
    return StatementVerdict(MigrationStep.UNKNOWN, why)


def contract(why: str, *takes_away: str) -> StatementVerdict:
    return StatementVerdict(MigrationStep.CONTRACT, why, takes_away)


def worst(verdicts: Sequence[StatementVerdict]) -> StatementVerdict:
    order = (MigrationStep.CONTRACT, MigrationStep.UNKNOWN, MigrationStep.EXPAND)
    steps = {verdict.step for verdict in verdicts}
    return StatementVerdict(
        next(step for step in order if step in steps),
        "; ".join(dict.fromkeys(verdict.why for verdict in verdicts)),
        tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.takes_away)),
    )
