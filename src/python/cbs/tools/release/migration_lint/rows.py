"""Rows that the running version did not write itself are no surprise only where it never looks."""

from cbs.tools.release.migration_lint.columns import Columns
from cbs.tools.release.migration_lint.scripts import Words, parts, unquoted
from cbs.tools.release.migration_lint.verdicts import Verdict, contract, expand, unknown


def insert(words: Words, known: Columns) -> Verdict:
    words.take("into")
    table = words.name()
    if table not in known.new and ("update" in words.rest and "conflict" in words.rest):
        return unknown(f"rows of {table} may be changed")
    return expand(f"rows of {table} that the service starts with")


def update(words: Words, known: Columns) -> Verdict:
    words.maybe("only")
    table = words.name()
    words.until("set")
    if table in known.new:
        return expand("the table is new")
    ends = [words.rest.index(word) for word in ("from", "where", "returning") if word in words.rest]
    assigned = parts(words.rest[: min(ends, default=len(words.rest))])
    if all((table, unquoted(part[0])) in known.new for part in assigned):
        return expand("fills what is new; every row is locked until the migration ends")
    return unknown(f"rows of {table} are changed under the running version")


def delete(words: Words, known: Columns) -> Verdict:
    words.maybe("from", "table", "only")
    gone = [name for name in [words.name()] if name not in known.new]
    return contract(f"rows of {gone[0]} are gone", *gone) if gone else expand("the table is new")
