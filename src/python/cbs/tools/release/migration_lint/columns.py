"""A column may come empty and may grow; the version that runs knows nothing of it, nor needs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cbs.tools.release.migration_lint.scripts import Words, outside
from cbs.tools.release.migration_lint.verdicts import Verdict, contract, expand, unknown

AFTER_TYPE = {
    "as", "check", "collate", "constraint", "default", "generated", "not", "null", "primary",
    "references", "storage", "unique", "using",
}  # fmt: skip
SYNONYMS = {
    "bool": "boolean",
    "character varying": "varchar",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
}
SERIAL = {"bigserial", "serial", "smallserial"}
WIDER = {
    "integer": {"bigint"},
    "smallint": {"bigint", "integer"},
    "varchar": {"text", "varchar"},
}
STABLE = {"now", "current_timestamp", "current_date", "transaction_timestamp", "localtimestamp"}


@dataclass(slots=True)
class Columns:
    """What is known of the schema: the types of columns, and what this migration has made."""

    types: dict[tuple[str, str], str] = field(default_factory=dict)
    new: set[str | tuple[str, str]] = field(default_factory=set)

    def learn(self, table: str, column: str, definition: Sequence[str]) -> None:
        self.types[table, column] = type_of(definition)


def type_of(definition: Sequence[str]) -> str:
    """The type that a column's definition begins with: varchar(16)."""
    words = []
    for word in definition:
        if word in AFTER_TYPE:
            break
        words.append(word)
    name = " ".join(word for word in words if word not in "(),") if "(" not in words else None
    if name is None:
        at = words.index("(")
        name = " ".join(words[:at])
        return f"{SYNONYMS.get(name, name)}{''.join(words[at:])}"
    return SYNONYMS.get(name, name)


def wider(old: str, new: str) -> bool:
    """Does whatever fitted the old type fit the new one, and read the same?"""
    name, _, length = old.partition("(")
    name_now, _, length_now = new.partition("(")
    if name_now not in WIDER.get(name, ()):
        return False
    if not length_now:
        return True
    return bool(length) and int(length_now.rstrip(")")) >= int(length.rstrip(")"))


def add_column(table: str, words: Words, known: Columns) -> Verdict:
    column = words.name()
    definition = words.rest
    known.learn(table, column, definition)
    known.new.add((table, column))
    plain = outside(definition)
    pairs = list(pairwise(plain))
    filled = "default" in plain or "generated" in plain or known.types[table, column] in SERIAL
    must = ("not", "null") in pairs or "primary" in plain or known.types[table, column] in SERIAL
    if must and not filled:
        return contract(f"an INSERT of the running version leaves {table}.{column} out")
    if filled and ("unique" in plain or "primary" in plain) and not _counts(plain, definition):
        return contract(f"the running version would write {table}.{column} twice alike")
    if "check" in plain and ("is", "not") in list(pairwise(definition)):
        return unknown(f"the check of {table}.{column} may refuse that it is left out")
    if "unique" in plain or "references" in plain:
        return expand(f"{table}.{column} may be left out; writes wait for its constraint")
    if filled and _rewrites(plain, definition):
        return expand(f"{table}.{column} is filled in; every row of {table} is written anew")
    return expand(f"{table}.{column} may be left out")


def _counts(plain: Sequence[str], definition: Sequence[str]) -> bool:
    """Is every value of the default another?"""
    made = {"gen_random_uuid", "identity", "nextval", "uuidv4", "uuidv7"}
    return bool(made & set(definition)) or bool(SERIAL & set(plain))


def _rewrites(plain: Sequence[str], definition: Sequence[str]) -> bool:
    if "generated" in plain or SERIAL & set(plain):
        return "virtual" not in plain
    at = list(definition).index("default")
    calls = {
        word
        for word, following in zip(definition[at:], definition[at + 1 :], strict=False)
        if following == "(" and word.isidentifier()
    }
    return bool(calls - STABLE - {"check", "varchar", "numeric", "char"})


def alter_column(table: str, words: Words, known: Columns) -> Verdict:
    column = words.name()
    place = f"{table}.{column}"
    if (table, column) in known.new:
        return expand(f"{place} is new")
    if words.take("drop", "not", "null"):
        return expand(f"{place} may be empty; a reader may meet that")
    if words.take("set", "not", "null"):
        return contract(f"the running version may leave {place} empty")
    if words.take("drop", "default"):
        return contract(f"an INSERT of the running version may rely on the default of {place}")
    if words.take("set", "default"):
        return expand(f"what {place} is if it is left out")
    words.maybe("set data")
    if words.take("type"):
        return _typed(table, column, words, known)
    if words.take("set", "statistics") or words.take("set", "storage"):
        return expand("how it is stored")
    return unknown(f"this change of {place} is not understood")


def _typed(table: str, column: str, words: Words, known: Columns) -> Verdict:
    place = f"{table}.{column}"
    old, new = known.types.get((table, column)), type_of(words.rest)
    known.types[table, column] = new
    if "using" in words.rest:
        return contract(f"the values of {place} are converted; {table} is written anew")
    if old is None:
        return unknown(f"what {place} was before is not known here")
    if old == new:
        return expand(f"{place} is {new} already")
    if not wider(old, new):
        return contract(f"{place} is {new} instead of {old}; {table} is written anew")
    if new.startswith(("text", "varchar")):
        return expand(f"{place} takes more: {new} instead of {old}")
    return expand(f"{place} takes more: {new} instead of {old}; {table} is written anew")
