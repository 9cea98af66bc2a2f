"""A migration that takes away what a deployed version uses comes too early."""

from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.records import Reason, no, unknown, yes
from cbs.tools.release.layout import SOURCES
from cbs.tools.release.migration_lint.locks import locks
from cbs.tools.release.migration_lint.steps import MigrationStatement, statements_of
from cbs.tools.release.migration_lint.uses import still_used
from cbs.tools.release.migration_lint.verdicts import MigrationStep

USES_SHOWN_MAX = 3


def migrations(history: GitHistory, service: str, deployed: str, new: str) -> list[Reason]:
    """Of the migrations that a version adds to a deployed one: may they run beside it?"""
    before = history.migrations(deployed, service)
    after = history.migrations(new, service)
    sources = {
        path: text
        for path, text in history.modules(deployed, f"{SOURCES}/{service}").items()
        if path.rpartition("/")[2] not in before
    }
    reasons = [
        no(
            f"{name} is not as {service}@{deployed[:SHORT]} has it, which has run it",
            "leave it as it was, and write another migration",
        )
        for name in sorted(before)
        if after.get(name) != before[name]
    ]
    for name in sorted(after.keys() - before.keys()):
        for statement in statements_of(after[name], before=list(before.values())):
            reasons += _of(statement, name, f"{service}@{deployed[:SHORT]}", sources)
    return reasons


def lock_notes(history: GitHistory, service: str, deployed: str, new: str) -> list[str]:
    """What the new migrations keep waiting while they run: how long depends on how many rows
    there are, so it is for a person to judge."""
    before, after = history.migrations(deployed, service), history.migrations(new, service)
    return [
        f"{name}: {found}"
        for name in sorted(after.keys() - before.keys())
        for found in locks(after[name])
    ]


def _of(
    statement: MigrationStatement, name: str, deployed: str, sources: dict[str, str]
) -> list[Reason]:
    if statement.step is MigrationStep.EXPAND:
        return []
    if statement.step is MigrationStep.UNKNOWN:
        why = f"{name} does what the gate cannot judge: {statement.sql} ({statement.why})"
        todo = "write it as steps that expand or contract"
        return [unknown(why, todo)]
    used = {
        thing: places for thing in statement.takes_away if (places := still_used(thing, sources))
    }
    if used or not statement.takes_away:
        what = "; ".join(
            f"{thing}, used in {', '.join(places[:USES_SHOWN_MAX])}"
            for thing, places in used.items()
        )
        why = f"{name} contracts while {deployed} is deployed: {what or statement.why}"
        todo = "deploy a version that does not need it, then this one"
        return [no(why, todo)]
    why = f"{name} takes away {', '.join(statement.takes_away)}, which {deployed} does not use"
    return [yes(why)]
