"""A migration that takes away what a deployed version uses comes too early; and nobody goes back
behind one that took away what the older version uses."""

from collections.abc import Collection

from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.records import Reason, no, unknown, yes
from cbs.tools.release.layout import SOURCES
from cbs.tools.release.migration_lint.locks import locks
from cbs.tools.release.migration_lint.steps import MigrationStatement, statements_of
from cbs.tools.release.migration_lint.uses import still_used
from cbs.tools.release.migration_lint.verdicts import MigrationStep

USES_SHOWN_MAX = 3


def migrations(history: GitHistory, service: str, deployed: str, new: str) -> list[Reason]:
    """Of the migrations that a version adds to a deployed one: may they run beside it? Of those
    that it lacks, which have run: may it run with them?"""
    before = history.migrations(deployed, service)
    after = history.migrations(new, service)
    reasons = [
        no(
            f"{name} is not as {service}@{deployed[:SHORT]} has it, which has run it",
            "leave it as it was, and write another migration",
        )
        for name in sorted(before)
        if name in after and after[name] != before[name]
    ]
    gone = {name: history.removed(new, name) for name in sorted(before.keys() - after.keys())}
    reasons += [
        no(
            f"{name}, which {service}@{deployed[:SHORT]} has run, was taken away in {commit}",
            "bring it back as it was, and write another migration",
        )
        for name, commit in gone.items()
        if commit
    ]
    for there, more, version, todo in (
        (before, after, deployed, "deploy a version that does not need it, then this one"),
        (after, before, new, "go back to a version that does not need it"),
    ):
        sources = _sources(history, service, version, there)
        for name in sorted(more.keys() - there.keys()):
            for statement in statements_of(more[name], before=list(there.values())):
                reasons += _of(statement, name, f"{service}@{version[:SHORT]}", sources, todo)
                if statement.decided:
                    reasons.append(_decided(statement, name, history.author(name, new, deployed)))
    return reasons


def _sources(
    history: GitHistory, service: str, version: str, migrations: Collection[str]
) -> dict[str, str]:
    return {
        path: text
        for path, text in history.modules(version, f"{SOURCES}/{service}").items()
        if path.rpartition("/")[2] not in migrations
    }


def lock_notes(history: GitHistory, service: str, deployed: str, new: str) -> list[str]:
    """What the new migrations keep waiting while they run: how long depends on how many rows
    there are, so it is for a person to judge."""
    before, after = history.migrations(deployed, service), history.migrations(new, service)
    return [
        f"{name}: {found}"
        for name in sorted(after.keys() - before.keys())
        for found in locks(after[name])
    ]


def _decided(statement: MigrationStatement, name: str, author: str) -> Reason:
    """Somebody has taken it upon them; it is told, and signed with the verdict."""
    return yes(
        f"{name}: {statement.sql} ({statement.why}) is an expansion by the word of {author}:"
        f" {statement.decided}"
    )


def _of(
    statement: MigrationStatement, name: str, version: str, sources: dict[str, str], todo: str
) -> list[Reason]:
    """What a statement does to a version without that migration."""
    if statement.step is MigrationStep.EXPAND:
        return []
    if statement.step is MigrationStep.UNKNOWN:
        why = f"{name} does what the gate cannot judge: {statement.sql} ({statement.why})"
        return [unknown(why, "write it as steps that expand or contract")]
    used = {
        thing: places for thing in statement.takes_away if (places := still_used(thing, sources))
    }
    if used or not statement.takes_away:
        what = "; ".join(
            f"{thing}, used in {', '.join(places[:USES_SHOWN_MAX])}"
            for thing, places in used.items()
        )
        why = f"{name} contracts what {version} uses: {what or statement.why}"
        return [no(why, todo)]
    why = f"{name} takes away {', '.join(statement.takes_away)}, which {version} does not use"
    return [yes(why)]
