"""A migration that takes away what a deployed version uses comes too early."""

from cbs.tools.release.gate.history import SHORT, History
from cbs.tools.release.gate.records import Answer, Reason
from cbs.tools.release.layout import SOURCES
from cbs.tools.release.migration_lint.steps import Statement, Step, statements_of, still_used

USES_SHOWN_MAX = 3


def migrations(history: History, service: str, deployed: str, new: str) -> list[Reason]:
    """Of the migrations that a version adds to a deployed one: may they run beside it?"""
    before = history.migrations(deployed, service)
    after = history.migrations(new, service)
    sources = {
        path: text
        for path, text in history.modules(deployed, f"{SOURCES}/{service}").items()
        if path.rpartition("/")[2] not in before
    }
    reasons = [
        Reason(
            answer=Answer.NO,
            why=f"{name} is not as {service}@{deployed[:SHORT]} has it, which has run it",
            todo="leave it as it was, and write another migration",
        )
        for name in sorted(before)
        if after.get(name) != before[name]
    ]
    for name in sorted(after.keys() - before.keys()):
        for statement in statements_of(after[name], before=list(before.values())):
            reasons += _of(statement, name, f"{service}@{deployed[:SHORT]}", sources)
    return reasons


def _of(statement: Statement, name: str, deployed: str, sources: dict[str, str]) -> list[Reason]:
    if statement.step is Step.EXPAND:
        return []
    if statement.step is Step.UNKNOWN:
        why = f"{name} does what the gate cannot judge: {statement.sql} ({statement.why})"
        todo = "write it as steps that expand or contract"
        return [Reason(answer=Answer.UNKNOWN, why=why, todo=todo)]
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
        return [Reason(answer=Answer.NO, why=why, todo=todo)]
    why = f"{name} takes away {', '.join(statement.takes_away)}, which {deployed} does not use"
    return [Reason(answer=Answer.YES, why=why)]
