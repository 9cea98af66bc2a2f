"""The columns in a service's `tables.py` are those of its migrated database: SQL says them once.

A new table is named there by a class without columns, as `class AccountRow(Table,
tablename="account"):`; the rest is written from the database by `./cbs contracts write`.
"""

import re
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import asyncpg

from cbs.platform.migrations import migrate
from cbs.tools.local import databases, postgres
from cbs.tools.local.postgres import with_database

CLASS = re.compile(r'^class (?P<name>\w+)\(Table, tablename="(?P<table>\w+)"\):$', re.MULTILINE)
DOCSTRING = re.compile(r'\n(?P<text>    """.*?""")\n', re.DOTALL)
# PostgreSQL's name of a type -> piccolo's. `character(3)` is text that is always as long.
TYPES = {
    "bigint": "BigInt",
    "boolean": "Boolean",
    "bytea": "Bytea",
    "character": "Text",
    "character varying": "Varchar",
    "date": "Date",
    "integer": "Integer",
    "jsonb": "JSONB",
    "smallint": "SmallInt",
    "text": "Text",
    "timestamp with time zone": "Timestamptz",
    "uuid": "UUID",
}
COLUMNS = """
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable,
        coalesce(attnum = indkey[0], false) AS is_key
    FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


async def written(module: str, connection: asyncpg.Connection) -> str:
    """The text of a `tables.py` with the columns that its tables have in this database."""
    used: set[str] = set()
    classes = []
    parts = CLASS.split(module)[1:]
    for name, table, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        lines = [f'class {name}(Table, tablename="{table}"):']
        if said := DOCSTRING.match(body):
            lines += [said["text"], ""]
        for column in await connection.fetch(COLUMNS, f'"{table}"'):
            lines.append(f"    {column['name']} = {_column(column, used)}")
        classes.append("\n".join(lines))
    names = "".join(f"    {name},\n" for name in sorted(used, key=lambda n: (not n.isupper(), n)))
    imports = f"from piccolo.columns import (\n{names})\nfrom piccolo.table import Table"
    return "\n\n\n".join([imports, *classes]) + "\n"


def _column(column: asyncpg.Record, used: set[str]) -> str:
    words, _, length = column["type"].removesuffix("[]").partition("(")
    kind = TYPES[words]
    used.add(kind)
    options = [f"length={length.rstrip(')')}"] if kind == "Varchar" else []
    if column["type"].endswith("[]"):
        used.add("Array")
        options, kind = [f"base_column={kind}()"], "Array"
    options += ["primary_key=True"] if column["is_key"] else []
    options += ["null=True"] if column["nullable"] else []
    return f"{kind}({', '.join(options)})"


def file_of(service: str) -> Path:
    file = import_module(f"cbs.{service}.tables").__file__
    assert file is not None
    return Path(file)


def all_written(services: Sequence[str]) -> dict[Path, str]:
    """Each service's `tables.py` as its migrations have it, from a server of its own."""
    with postgres.throwaway() as url:
        roles = dict.fromkeys(databases.roles_of(tuple(services)))
        databases.in_own_loop(lambda: databases.make_roles(url, roles))
        return {
            file_of(service): databases.in_own_loop(partial(_migrated, url, service))
            for service in services
        }


async def _migrated(url: str, service: str) -> str:
    await databases.make_database(url, service)
    name = databases.runtime_of(service)
    owner = with_database(url, name, databases.owner_of(service))
    await migrate(service, owner)
    connection = await asyncpg.connect(owner)
    try:
        return await written(file_of(service).read_text(), connection)
    finally:
        await connection.close()
