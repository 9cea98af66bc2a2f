"""The SQL that the services use, on tables in memory; what is not understood is an error.

A statement becomes a Python function once. Locks (FOR UPDATE) mean nothing here: transactions of
one database run one at a time. What lives in SQL itself is for the race tests on PostgreSQL.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import Any

from cbs.accounts.store import accounts, adoption
from cbs.ledger.store import book
from cbs.platform import outbox, saga_store
from cbs.simulation.tables import Row, Tables

Values = Sequence[Any]
Outcome = tuple[list[Row], str]
Run = Callable[[Tables, Values], Outcome]
Value = Callable[[Row, Values, datetime], Any]

NOISE = re.compile(
    r" FOR (NO KEY )?UPDATE( SKIP LOCKED)?|::\w+(\[\])?|\bALL (?=\w)|\b\w+\.(?=[a-z])"
)
INSERT = re.compile(
    r"INSERT INTO (?P<table>\w+) \((?P<columns>[^)]*)\) "
    r"(VALUES \((?P<values>.*?)\)|SELECT \* FROM unnest\((?P<lists>[^)]*)\))"
    r"(?P<lenient> ON CONFLICT (\([^)]*\) )?DO NOTHING)?( RETURNING (?P<returning>.*))?$"
)
UPDATE = re.compile(
    r"UPDATE (?P<table>\w+) SET (?P<sets>.*?)( WHERE (?P<where>.*?))?"
    r"( RETURNING (?P<returning>.*))?$"
)
SELECT = re.compile(
    r"SELECT (?P<items>.*?) ?FROM (?P<table>\w+)( WHERE (?P<where>.*?))?"
    r"( ORDER BY (?P<order>.*?))?( LIMIT (?P<limit>\S+))?$"
)
ASKED = re.compile(
    r"SELECT (?P<items>.*?) FROM (?P<table>\w+) JOIN unnest\(\$1, \$2\) AS asked "
    r"\((?P<columns>[^)]*)\) USING \(.*\)$"
)
TOKEN = re.compile(
    r"'[^']*'|\$\d+|= ANY\(|IS NOT NULL|IS NULL|NOT IN \(|\bIN \(|<>|!=|<=|>=|[-+<>=(),]|\w+"
)
WORDS = {
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "=": "==",
    "<>": "!=",
    "IS NULL": "is None",
    "IS NOT NULL": "is not None",
    "= ANY(": "in (",
    "IN (": "in (None, ",
    "NOT IN (": "not in (None, ",
    "true": "True",
    "false": "False",
    "NULL": "None",
    "make_interval": "seconds",
    "clock_timestamp": "clock",
}


class NotUnderstood(Exception):
    """A statement that the simulated database does not know: teach it, or keep it out."""


def plain(sql: str) -> str:
    text = " ".join(sql.replace('"', "").split())
    return re.sub(r"\b(\w+) AS \1\b", r"\1", NOISE.sub("", text))


@cache
def understood(sql: str) -> Run:
    text = plain(sql)
    if special := SPECIAL.get(text):
        return special
    forms = ((INSERT, _insert), (UPDATE, _update), (ASKED, _asked), (SELECT, _select))
    for form, compiled in forms:
        if found := form.match(text):
            return compiled(found)
    raise NotUnderstood(text)


def _expression(text: str) -> Value:
    return _compiled(_code(text))


def _code(text: str) -> str:
    words = []
    for token in TOKEN.findall(text):
        if token.startswith("$"):
            words.append(f"values[{int(token[1:]) - 1}]")
        elif token in WORDS:
            words.append(WORDS[token])
        elif token == "secs" or not token[0].isalpha():
            words.append(token)
        else:
            words.append(f'row["{token}"]')
    code = " ".join(words).replace("secs ==> ", "").replace("secs == >", "")
    return code.replace("clock ( )", "now")


def _compiled(code: str) -> Value:
    names = {"__builtins__": {}, "seconds": lambda seconds: timedelta(seconds=seconds)}
    value: Value = eval(f"lambda row, values, now: ({code})", names)
    return value


def _holds(text: str | None) -> Callable[[Row, Values, datetime], bool]:
    if text is None:
        return lambda row, values, now: True
    value = _expression(text)

    def holds(row: Row, values: Values, now: datetime) -> bool:
        try:
            return bool(value(row, values, now))
        except TypeError:  # null compared with something is null
            return False

    return holds


def _insert(found: "re.Match[str]") -> Run:
    table, columns = found["table"], [each.strip() for each in found["columns"].split(",")]
    lenient, returning = found["lenient"] is not None, _returning(found["returning"])
    if found["values"] is not None:
        exprs = [_expression(each) for each in _parts(found["values"])]
        lists = []
    else:
        exprs = []
        lists = [int(each.strip()[1:]) - 1 for each in found["lists"].split(",")]

    def rows(values: Values, now: datetime) -> Iterable[Iterable[Any]]:
        if exprs:
            return [[value({}, values, now) for value in exprs]]
        return zip(*(values[place] for place in lists), strict=True)

    def run(tables: Tables, values: Values) -> Outcome:
        new = [dict(zip(columns, row, strict=True)) for row in rows(values, tables.now())]
        kept = tables.insert(table, new, lenient=lenient)
        return returning(kept, values, tables.now()), f"INSERT 0 {len(kept)}"

    return run


def _update(found: "re.Match[str]") -> Run:
    table, holds, returning = found["table"], _holds(found["where"]), _returning(found["returning"])
    named = _key(found["where"])
    sets = []
    for each in _parts(found["sets"]):
        column, _, value = each.partition("=")
        sets.append((column.strip(), _expression(value)))

    def run(tables: Tables, values: Values) -> Outcome:
        now, changed = tables.now(), []
        for row in tables.rows(table, named, values):
            if holds(row, values, now):
                news = {column: value(row, values, now) for column, value in sets}
                changed.append(tables.replace(table, row, news))
        return returning(changed, values, now), f"UPDATE {len(changed)}"

    return run


def _select(found: "re.Match[str]") -> Run:
    table, holds, returning = found["table"], _holds(found["where"]), _returning(found["items"])
    named, limit = _key(found["where"]), found["limit"]
    order = [each.strip().split() for each in (found["order"] or "").split(",") if each.strip()]

    def run(tables: Tables, values: Values) -> Outcome:
        now = tables.now()
        rows = [row for row in tables.rows(table, named, values) if holds(row, values, now)]
        for column, *way in reversed(order):
            rows.sort(key=lambda row: row[column], reverse=way == ["DESC"])
        if limit is not None:
            rows = rows[: int(_expression(limit)({}, values, now))]
        return returning(rows, values, now), f"SELECT {len(rows)}"

    return run


def _asked(found: "re.Match[str]") -> Run:
    table, returning = found["table"], _returning(found["items"])
    columns = tuple(each.strip() for each in found["columns"].split(","))

    def run(tables: Tables, values: Values) -> Outcome:
        asked = zip(values[0], values[1], strict=True)
        rows = [row for key in asked if (row := tables.row(table, columns, key)) is not None]
        return returning(rows, values, tables.now()), f"SELECT {len(rows)}"

    return run


def _to_publish(tables: Tables, values: Values) -> Outcome:
    [sent] = tables.all("relay")
    return _facts_after(tables, sent["position"], values[0]), "SELECT"


def _after(tables: Tables, values: Values) -> Outcome:
    return _facts_after(tables, values[0], values[1]), "SELECT"


def _facts_after(tables: Tables, position: int, limit: int) -> list[Row]:
    """Positions have no gap: the first one that is not there ends it."""
    places = range(position + 1, position + limit + 1)
    facts = (tables.row("outbox", ("position",), (place,)) for place in places)
    return list(takewhile(lambda row: row is not None, facts))  # type: ignore[arg-type]


def _waiting(tables: Tables, values: Values) -> Outcome:
    [head], [sent] = tables.all("outbox_head"), tables.all("relay")
    return [{"waiting": head["position"] - sent["position"]}], "SELECT 1"


def _take_due(tables: Tables, values: Values) -> Outcome:
    now = tables.now()
    due = [row for row in tables.all("saga") if row["step"] != "done" and row["lease_until"] < now]
    due = sorted(due, key=lambda row: row["lease_until"])[: values[0]]
    until = {"lease_until": now + timedelta(seconds=values[1])}
    return [tables.replace("saga", row, until) for row in due], "UPDATE"


def _serial(tables: Tables, values: Values) -> Outcome:
    return [{"serial": tables.next_serial()}], "SELECT 1"


def _nothing(tables: Tables, values: Values) -> Outcome:
    return [], "SELECT 1"


def _returning(items: str | None) -> Callable[[Sequence[Row], Values, datetime], list[Row]]:
    if items is None:
        return lambda rows, values, now: []
    if items == "*":
        return lambda rows, values, now: [dict(row) for row in rows]
    if items == "count(*)":
        return lambda rows, values, now: [{"count": len(rows)}]
    named = [each.partition(" AS ") for each in _parts(items)]
    columns = [f'"{name or text}": ({_code(text)})' for text, _, name in named]
    shown = _compiled(f"{{{', '.join(columns)}}}")
    return lambda rows, values, now: [shown(row, values, now) for row in rows]


def _key(where: str | None) -> tuple[str, int] | None:
    """The column that must equal a value: its index makes a short way to the rows."""
    found = re.match(r"\(?(\w+) = \$(\d+)( AND |\)?$)", where or "")
    return (found[1], int(found[2]) - 1) if found else None


def _parts(text: str) -> list[str]:
    """Split at the commas that are not in parentheses."""
    parts, depth, last = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[last:place].strip())
            last = place + 1
    return [*parts, text[last:].strip()] if text.strip() else []


SPECIAL: dict[str, Run] = {
    plain(outbox.UNPUBLISHED): _to_publish,
    plain(outbox.WAITING): _waiting,
    plain(outbox.AFTER): _after,
    plain(saga_store.TAKE_DUE): _take_due,
    plain(adoption.LEFT): _nothing,  # no older release is simulated
    plain(accounts.SERIAL): _serial,
    plain(book.NAMED): _nothing,  # transactions run one at a time
}
