"""A migration either adds, and the version that runs may stay; or takes away or asks more, and
that version must be gone first. What is not plainly one of them is for a person to decide.

A person decides in a comment of the statement, `-- expand: why`. It clears what is not understood
and what asks more (SET NOT NULL, a constraint); nothing clears a name that is taken away. Whoever
wrote it is named in the verdict, which is signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cbs.tools.release.migration_lint.judge import judge
from cbs.tools.release.migration_lint.known import Known
from cbs.tools.release.migration_lint.modules import OrmCall, Unread, written
from cbs.tools.release.migration_lint.orm import sql_of
from cbs.tools.release.migration_lint.parsed import NotParsed, Parsed, parsed
from cbs.tools.release.migration_lint.verdicts import (
    MigrationStep,
    StatementVerdict,
    expand,
    unknown,
    worst,
)

SQL_SHOWN_CHARACTERS = 200
MARK = "expand:"
# What cbs.platform.migrations writes for a service.
PLATFORM_TABLES = ("plumbing(", "saga_table(")


@dataclass(frozen=True, slots=True)
class MigrationStatement:
    """`takes_away`: tables, `table.column`s and `function()`s that are not there afterwards.

    A CONTRACT that takes nothing away asks more of who writes: no search of the code clears it.
    """

    sql: str
    step: MigrationStep
    takes_away: tuple[str, ...]
    why: str
    decided: str = ""


def statements_of(module_text: str, *, before: Sequence[str] = ()) -> list[MigrationStatement]:
    """What a migration does, in order; `before`: the migrations that ran earlier, for the types
    of their columns. Nothing is imported or run."""
    known = Known()
    for earlier in before:
        _read(earlier, known)
        known.new.clear()
    return _read(module_text, known)


def _read(module_text: str, known: Known) -> list[MigrationStatement]:
    found = []
    for piece in written(module_text):
        if isinstance(piece, str):
            found += [_statement(each.sql, _judged(each, known)) for each in parsed(piece)]
        elif isinstance(piece, Unread):
            found.append(_statement(piece.shown, _unread(piece)))
        else:
            found.append(_statement(piece.shown, _called(piece, known)))
    return found


def _statement(sql: str, verdict: StatementVerdict) -> MigrationStatement:
    shown = " ".join(sql.split())[:SQL_SHOWN_CHARACTERS]
    return MigrationStatement(shown, verdict.step, verdict.takes_away, verdict.why, verdict.decided)


def _unread(piece: Unread) -> StatementVerdict:
    if piece.shown.startswith(PLATFORM_TABLES):
        return expand("tables of the platform, which are new")
    return unknown(piece.why)


def _called(call: OrmCall, known: Known) -> StatementVerdict:
    if (sql := sql_of(call, known)) is None:
        return unknown(f"what {call.name} does cannot be read from the text")
    return worst([_judged(each, known) for each in parsed(sql)])


def _judged(statement: Parsed | NotParsed, known: Known) -> StatementVerdict:
    if isinstance(statement, NotParsed):
        return unknown(statement.why)
    verdict = judge(statement.tree, known)
    marks = [text for text in statement.comments() if text.startswith(MARK)]
    if marks and verdict.step is not MigrationStep.EXPAND and not verdict.takes_away:
        decided = marks[0].removeprefix(MARK).strip()
        return StatementVerdict(MigrationStep.EXPAND, verdict.why, decided=decided or "no reason")
    return verdict
