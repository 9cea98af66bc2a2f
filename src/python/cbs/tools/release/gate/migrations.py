"""A migration that takes away what a deployed version uses comes too early."""

from cbs.tools.release.gate.history import SHORT, SOURCES, History
from cbs.tools.release.gate.records import Answer, Reason
from cbs.tools.release.migration_lint.steps import Statement, Step, statements_of, still_used

USES_SHOWN_MAX = 3


def migrations(history: History, service: str, deployed: str, new: str) -> list[Reason]:
    """Of the migrations that a version adds to a deployed one: may they run beside it?"""
    folder = f"{SOURCES}/{service}/infrastructure/migrations"
    before = _texts(history, deployed, folder)
    after = _texts(history, new, folder)
    sources = {
        path: text
        for path, text in _texts(history, deployed, f"{SOURCES}/{service}").items()
        if path not in before
    }
    reasons = [
        Reason(
            answer=Answer.NO,
            why=f"{path} is not as {service}@{deployed[:SHORT]} has it, which has run it",
            todo="leave it as it was, and write another migration",
        )
        for path in sorted(before)
        if after.get(path) != before[path]
    ]
    for path in sorted(after.keys() - before.keys()):
        for statement in statements_of(after[path], before=list(before.values())):
            reasons += _of(statement, path, f"{service}@{deployed[:SHORT]}", sources)
    return reasons


def _of(statement: Statement, path: str, deployed: str, sources: dict[str, str]) -> list[Reason]:
    name = path.rpartition("/")[2]
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


def _texts(history: History, sha: str, folder: str) -> dict[str, str]:
    found = {}
    for path in history.files(sha, folder):
        if path.endswith(".py") and not path.endswith("__init__.py"):
            body = history.file(sha, path)
            assert body is not None, path
            found[path] = body.decode()
    return found
