"""The four keys, computed from releases whose times are known."""

from datetime import datetime, timedelta

import pytest

from cbs.tools.release.deploy.dora import as_text, figures
from cbs.tools.release.deploy.releases import Done, JournalEntry, Release, ReleaseKind, ReleaseStep
from cbs.tools.release.gate.records import GateAnswer
from tests.deploy.world import BEGAN, said

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
UNTIL = BEGAN + 10 * DAY


def release(
    at: datetime,
    *,
    end: str,
    kind: ReleaseKind = ReleaseKind.DEPLOY,
    lead: timedelta = HOUR,
    to: str = "prod",
) -> Release:
    """It reaches users after a minute, and ends a minute later."""
    made = Release(
        id=f"{at:%Y%m%dT%H%M%S}",
        kind=kind,
        application="ledger",
        version="b" * 40,
        environment=to,
        committed=at + 2 * MINUTE - lead,
        at=at,
        by="asha",
    )
    worked, broke = said(GateAnswer.YES), said(GateAnswer.NO)
    plan: list[tuple[ReleaseStep, Done, timedelta]] = [(ReleaseStep.GATE, worked, MINUTE)]
    if end == "refused":
        plan = [(ReleaseStep.GATE, broke, MINUTE)]
    if end == "reverted":
        plan += [(ReleaseStep.CANARY, worked, MINUTE), (ReleaseStep.JUDGE, broke, MINUTE)]
        plan += [(ReleaseStep.REVERT, worked, 2 * MINUTE)]
    if end == "promoted":
        plan += [(ReleaseStep.CANARY, worked, MINUTE), (ReleaseStep.JUDGE, worked, MINUTE)]
        plan += [
            (ReleaseStep.PROMOTE, worked, 2 * MINUTE),
            (ReleaseStep.RECORD, worked, 2 * MINUTE),
        ]
    for step, done, after in plan:
        made.steps.append(JournalEntry(step=step, began=at + after, ended=at + after, done=done))
    return made


def test_nothing_is_computed_from_nothing():
    found = figures([], "prod", until=UNTIL, days=10)

    assert (found.deployments, found.failure_rate, found.lead_seconds) == (0, None, None)
    assert "no release reached prod in 10 days" in as_text(found)


def test_the_four_keys():
    releases = [
        release(BEGAN, end="promoted", lead=HOUR),
        release(BEGAN + DAY, end="reverted"),
        release(BEGAN + 2 * DAY, end="refused"),
        release(BEGAN + 3 * DAY, end="promoted", lead=3 * HOUR),
        release(BEGAN + 3 * DAY + 2 * HOUR, end="promoted", kind=ReleaseKind.ROLLBACK),
        release(BEGAN + 4 * DAY, end="promoted", lead=8 * HOUR),
        release(BEGAN + 5 * DAY, end="promoted", to="staging"),
    ]

    found = figures(releases, "prod", until=UNTIL, days=10)

    assert (found.deployments, found.deployments_per_day) == (3, 0.3)
    assert found.lead_seconds == (3 * HOUR).total_seconds()
    # Four had a canary; one was reverted, one rolled back. The refused one reached nobody.
    assert (found.changes, found.failed, found.failure_rate) == (4, 2, 0.5)
    # One minute for the canary; two hours and one minute for what was promoted: the median.
    minutes = (1 + 121) / 2
    assert found.restore_seconds == (minutes * MINUTE).total_seconds()
    assert "2 of 4 (50%)" in as_text(found)


def test_a_rollback_is_of_the_last_change_alone():
    releases = [
        release(BEGAN, end="promoted"),
        release(BEGAN + DAY, end="promoted"),
        release(BEGAN + 2 * DAY, end="promoted", kind=ReleaseKind.ROLLBACK),
    ]

    assert figures(releases, "prod", until=UNTIL, days=10).failed == 1


@pytest.mark.parametrize(("days", "deployments"), [(10, 2), (8.5, 1), (1, 0)])
def test_only_what_ended_in_the_window_counts(days, deployments):
    releases = [
        release(BEGAN, end="promoted"),
        release(BEGAN + 2 * DAY, end="promoted"),
        release(UNTIL, end="promoted"),
    ]

    found = figures(releases, "prod", until=UNTIL, days=days)

    assert found.deployments == deployments


def test_of_what_too_few_asked_nobody_says_that_it_failed():
    shy = release(BEGAN + DAY, end="reverted")
    judged = shy.entry(ReleaseStep.JUDGE)
    assert judged is not None
    judged.done = said(GateAnswer.UNKNOWN, "too few to say")
    good = release(BEGAN + 2 * DAY, end="promoted")

    found = figures([shy, good], "prod", until=UNTIL, days=10)

    assert (found.changes, found.failed, found.undecided) == (1, 0, 1)
    assert "0 of 1 (0%)" in as_text(found) and "too few to say       1 more" in as_text(found)
    alone = figures([shy], "prod", until=UNTIL, days=10)
    assert (alone.failure_rate, alone.undecided) == (None, 1)
    assert "change-failure rate  0 of 0" in as_text(alone)
