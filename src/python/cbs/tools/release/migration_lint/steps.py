"""A migration either adds, and the version that runs may stay; or takes away or asks more, and
that version must be gone first. What is not plainly one of them is for a person to decide.

A person decides in a comment of the statement, `-- expand: why`. It clears what is not understood
and what asks more (SET NOT NULL, a constraint); nothing clears a name that is taken away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cbs.tools.release.migration_lint.columns import Columns, add_column, alter_column
from cbs.tools.release.migration_lint.modules import Call, Unread, written
from cbs.tools.release.migration_lint.orm import step_of_call
from cbs.tools.release.migration_lint.rows import delete, insert, update
from cbs.tools.release.migration_lint.scripts import Words, comments, parts, split, unquoted
from cbs.tools.release.migration_lint.uses import still_used
from cbs.tools.release.migration_lint.verdicts import (
    Step,
    Verdict,
    contract,
    expand,
    unknown,
    worst,
)

__all__ = ["Statement", "Step", "statements_of", "still_used"]

SQL_SHOWN_CHARACTERS = 200
MARK = "expand:"
PLUMBING = "plumbing"
# A table's constraint, where a column could stand.
CONSTRAINTS = {"constraint", "primary", "unique", "check", "foreign", "exclude"}
NEW_THINGS = {
    "aggregate", "collation", "domain", "extension", "publication", "schema", "sequence",
    "statistics", "type", "view",
}  # fmt: skip
HARMLESS = {
    "analyze": "counts rows anew",
    "comment": "says something about it",
    "set": "for this session alone",
    "validate": "looks at what is there",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """`takes_away`: tables, `table.column`s and `function()`s that are not there afterwards.

    A CONTRACT that takes nothing away asks more of who writes: no search of the code clears it.
    """

    sql: str
    step: Step
    takes_away: tuple[str, ...]
    why: str


def statements_of(module_text: str, *, before: Sequence[str] = ()) -> list[Statement]:
    """What a migration does, in order; `before`: the migrations that ran earlier, for the types
    of their columns. Nothing is imported or run."""
    known = Columns()
    for earlier in before:
        _read(earlier, known)
        known.new.clear()
    return _read(module_text, known)


def _read(module_text: str, known: Columns) -> list[Statement]:
    found = []
    for piece in written(module_text):
        if isinstance(piece, Unread):
            found.append(_unread(piece))
        elif isinstance(piece, Call):
            found.append(_statement(piece.shown, step_of_call(piece, known)))
        else:
            found += [
                _statement(sql, _judged(sql, known)) for sql in split(piece) if Words.of(sql).all
            ]
    return found


def _statement(sql: str, verdict: Verdict) -> Statement:
    shown = " ".join(sql.split())[:SQL_SHOWN_CHARACTERS]
    return Statement(shown, verdict.step, verdict.takes_away, verdict.why)


def _unread(piece: Unread) -> Statement:
    if piece.shown.startswith(f"{PLUMBING}("):
        return _statement(piece.shown, expand("outbox, inbox and keys of a new service"))
    return _statement(piece.shown, unknown(piece.why))


def _judged(sql: str, known: Columns) -> Verdict:
    words = Words.of(sql)
    first = words.word()
    if first in HARMLESS:
        verdict = expand(HARMLESS[first])
    elif first in RULES:
        verdict = RULES[first](words, known)
    else:
        verdict = unknown(f"{first.upper()} is not understood")
    marks = [text for text in comments(sql) if text.startswith(MARK)]
    if marks and verdict.step is not Step.EXPAND and not verdict.takes_away:
        return expand(f"decided: {marks[0].removeprefix(MARK).strip()} ({verdict.why})")
    return verdict


def _create(words: Words, known: Columns) -> Verdict:
    replaced = words.take("or", "replace")
    words.maybe("global", "local", "temporary", "temp", "unlogged", "constraint", "materialized")
    words.maybe("recursive")
    unique = words.take("unique")
    kind = words.word()
    if kind == "table":
        return _create_table(words, known)
    if kind == "index":
        return _create_index(words, known, unique)
    if kind in ("trigger", "policy", "rule"):
        table = _table_after_on(words)
        if table in known.new:
            return expand("the table is new")
        return unknown(f"what the running version does to {table} meets a new {kind}")
    words.maybe("if not exists")
    if kind in ("function", "procedure"):
        name = f"{words.name()}()"
        if replaced and name not in known.new:
            return unknown(f"{name} may do something else from now on")
        known.new.add(name)
        return expand(f"{name} is new")
    if kind not in NEW_THINGS:
        return unknown(f"CREATE {kind.upper()} is not understood")
    name = words.name()
    if replaced and name not in known.new:
        return unknown(f"{name} may show something else from now on")
    known.new.add(name)
    return expand(f"{name} is a new {kind}")


def _create_table(words: Words, known: Columns) -> Verdict:
    perhaps = words.take("if", "not", "exists")
    table = words.name()
    if words.rest[:1] == ["("]:
        for part in parts(words.bracket()):
            if part[0] not in CONSTRAINTS | {"like"}:
                known.learn(table, unquoted(part[0]), part[1:])
    if not perhaps:
        known.new.add(table)
    return expand(f"{table} is new")


def _create_index(words: Words, known: Columns, unique: bool) -> Verdict:
    concurrently = words.take("concurrently")
    table = _table_after_on(words)
    if table in known.new:
        return expand("the table is new")
    if unique:
        return contract(f"the running version may write to {table} what is not unique")
    if concurrently:
        return expand(f"built beside the writes to {table}")
    return expand(f"writes to {table} wait while it is built: CONCURRENTLY would not block them")


def _table_after_on(words: Words) -> str:
    """The last ON names it, unless a bracket or WHEN comes: they cannot stand before it."""
    while words.rest and not words.take("on"):
        words.word()
    words.maybe("only")
    return words.name()


def _alter(words: Words, known: Columns) -> Verdict:
    if words.take("default", "privileges"):
        if "revoke" in words.rest:
            return contract("rights on what is made later are taken away")
        return expand("rights on what is made later")
    words.maybe("materialized", "foreign")
    kind = words.word()
    words.maybe("if exists", "only")
    name = words.name()
    if kind == "table":
        return _alter_table(name, words, known)
    if kind == "type" and words.take("add", "value"):
        return expand(f"{name} has one value more; a reader may not know it")
    takes = f"{name}()" if kind in ("function", "procedure") else name
    if takes in known.new:
        return expand(f"{takes} is new")
    if "rename" in words.rest:
        return contract(f"{takes} has another name", takes)
    return unknown(f"ALTER {kind.upper()} is not understood")


def _alter_table(table: str, words: Words, known: Columns) -> Verdict:
    words.take("*")
    if table in known.new:
        if words.take("rename", "to"):
            known.new.add(words.name())
        return expand(f"{table} is new")
    verdicts = [_altered(table, Words(part), known) for part in parts(words.rest)]
    return worst(verdicts) if verdicts else unknown("ALTER TABLE without an action")


def _altered(table: str, words: Words, known: Columns) -> Verdict:
    match words.word():
        case "add" if words.rest[:1] and words.rest[0] in CONSTRAINTS:
            return contract(f"the running version may write to {table} what is refused then")
        case "add":
            words.maybe("column", "if not exists")
            return add_column(table, words, known)
        case "drop" if words.take("constraint"):
            return expand("less is asked; an ON CONFLICT that relied on it would fail")
        case "drop":
            words.maybe("column", "if exists")
            name = words.name()
            if (table, name) in known.new:
                return expand(f"{table}.{name} is new")
            return contract(f"{table}.{name} is gone", f"{table}.{name}")
        case "alter":
            words.maybe("column")
            return alter_column(table, words, known)
        case "rename":
            return _renamed(table, words)
        case "set" if words.take("schema"):
            return contract(f"{table} is found elsewhere", table)
        case "set" | "reset" | "cluster":
            return expand("how it is stored")
        case "validate":
            return expand("looks at the rows that are there")
        case "enable" if "security" in words.rest:
            return contract(f"rows of {table} are hidden from the running version")
    return unknown(f"this ALTER TABLE of {table} is not understood")


def _renamed(table: str, words: Words) -> Verdict:
    if words.take("to"):
        return contract(f"{table} has another name", table)
    if words.take("constraint"):
        name = words.name()
        return contract(f"the constraint {name} has another name", name)
    words.maybe("column")
    column = words.name()
    return contract(f"{table}.{column} has another name", f"{table}.{column}")


def _drop(words: Words, known: Columns) -> Verdict:
    words.maybe("materialized", "foreign")
    kind = words.word()
    words.maybe("concurrently", "if exists")
    if kind in ("trigger", "policy", "rule"):
        name = words.name()
        words.take("on")
        table = words.name()
        if table in known.new:
            return expand("the table is new")
        return contract(f"the running version may rely on what {name} does on {table}")
    names = words.names()
    if kind in ("function", "procedure", "aggregate", "routine"):
        names = [f"{name}()" for name in names]
    if all(name in known.new for name in names):
        return expand("made in this very migration")
    if kind == "index":
        return unknown("if it was unique, an ON CONFLICT of the running version needs it")
    gone = [name for name in names if name not in known.new]
    return contract(f"{', '.join(gone)} no longer there", *gone)


def _revoke(words: Words, known: Columns) -> Verdict:
    rights = words.until("on")
    function = words.take("function") or words.take("procedure")
    words.maybe("table", "sequence")
    names = [f"{name}()" if function else name for name in words.names()]
    if all(name in known.new for name in names):
        return expand("made in this very migration")
    columns = [word for word in rights if "(" in rights and word.isidentifier()]
    some = [f"{name}.{column}" for name in names for column in columns[1:]] or names
    return contract("a right of the running version may be taken away", *some)


RULES: Mapping[str, Callable[[Words, Columns], Verdict]] = {
    "alter": _alter,
    "create": _create,
    "delete": delete,
    "drop": _drop,
    "grant": lambda words, known: expand("a right more"),
    "insert": insert,
    "revoke": _revoke,
    "truncate": delete,
    "update": update,
}
