"""How well an environment is delivered to follows from its releases; nothing else is counted.

The four keys of DORA's research, as far as releases can tell them: an incident that no release
caused and none mended is not seen here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

import msgspec

from cbs.tools.release.deploy.releases import Release, ReleaseKind, ReleaseOutcome, ReleaseStep
from cbs.tools.release.gate.records import GateAnswer

DEFINITIONS = """
Deployments: releases that were promoted, without rollbacks; their frequency is that by day.
Lead time: from a version's commit to the end of its promotion, the median.
Change-failure rate: of the changes that reached users (those with a canary), the share that was
taken back: reverted before promotion, or rolled back after it. Those of which there was too little
to say count as none.
Time to restore: from when a change that failed reached users until what it replaced was back, the
median.
""".strip()


class Figures(msgspec.Struct, kw_only=True):
    """Of the days before `until`. None is what nothing is known of."""

    environment: str
    days: float
    until: datetime
    deployments: int
    deployments_per_day: float
    lead_seconds: float | None
    changes: int
    failed: int
    undecided: int
    failure_rate: float | None
    restore_seconds: float | None


def figures(
    releases: Sequence[Release], environment: str, *, until: datetime, days: float
) -> Figures:
    """Of releases that ended in the window. A rollback after it still makes a change a failure."""
    there = [r for r in releases if r.environment == environment and r.ended is not None]
    since = until - timedelta(days=days)
    reached = [
        each
        for each in there
        if each.kind is ReleaseKind.DEPLOY
        and each.entry(ReleaseStep.CANARY)
        and since <= _end(each) < until
    ]
    changes = [each for each in reached if not _is_undecided(each)]
    promoted = [each for each in changes if each.outcome is ReleaseOutcome.PROMOTED]
    restored = {each.id: _restored(each, there) for each in changes}
    failed = [each for each in changes if restored[each.id] is not None]
    leads = [(_promoted_at(each) - each.committed).total_seconds() for each in promoted]
    took = [
        (back - _reached_at(each)).total_seconds()
        for each in failed
        if (back := restored[each.id]) is not None
    ]
    return Figures(
        environment=environment,
        days=days,
        until=until,
        deployments=len(promoted),
        deployments_per_day=len(promoted) / days,
        lead_seconds=median(leads) if leads else None,
        changes=len(changes),
        failed=len(failed),
        undecided=len(reached) - len(changes),
        failure_rate=len(failed) / len(changes) if changes else None,
        restore_seconds=median(took) if took else None,
    )


def _is_undecided(release: Release) -> bool:
    """Too few asked it to say: it went back, and nobody knows whether it was bad."""
    return release.outcome is ReleaseOutcome.REVERTED and release.answer is GateAnswer.UNKNOWN


def _restored(change: Release, there: Sequence[Release]) -> datetime | None:
    """When what a change replaced was back; None of a change that stayed."""
    if change.outcome is ReleaseOutcome.REVERTED:
        return _end(change)
    after = (each for each in there if each.application == change.application)
    later = sorted((each for each in after if each.at > change.at), key=lambda each: each.at)
    for each in later:
        if each.outcome is ReleaseOutcome.PROMOTED:
            # Only what comes next can be its rollback: after another change it is that one's.
            return _promoted_at(each) if each.kind is ReleaseKind.ROLLBACK else None
    return None


def _end(release: Release) -> datetime:
    assert release.ended is not None, release
    return release.ended


def _promoted_at(release: Release) -> datetime:
    entry = release.entry(ReleaseStep.PROMOTE)
    assert entry is not None, release
    return entry.ended or entry.began


def _reached_at(release: Release) -> datetime:
    entry = release.entry(ReleaseStep.CANARY)
    assert entry is not None, release
    return entry.began


def as_text(found: Figures) -> str:
    """As sentences for a person."""
    if not found.changes and not found.undecided:
        return (
            f"no release reached {found.environment} in {found.days:g} days before"
            f" {found.until:%F %T}: there is nothing to compute from (./cbs release deploy)"
        )
    failed = f"{found.failed} of {found.changes}"
    failed += "" if found.failure_rate is None else f" ({found.failure_rate:.0%})"
    undecided = [f"too few to say       {found.undecided} more"] if found.undecided else []
    lead, restore = _span(found.lead_seconds), _span(found.restore_seconds)
    return "\n".join(
        (
            f"{found.environment}, {found.days:g} days until {found.until:%F %T}",
            f"deployments          {found.deployments} ({found.deployments_per_day:.2f} a day)",
            f"lead time            {lead}",
            f"change-failure rate  {failed}",
            f"time to restore      {restore}",
            *undecided,
        )
    )


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
