"""Piccolo's own migration calls are judged as the SQL they become."""

from cbs.tools.release.migration_lint.known import Known
from cbs.tools.release.migration_lint.modules import OrmCall

COLUMN_NAMES = ("db_column_name", "column_name", "old_db_column_name", "old_column_name")
SQL_TYPES = {"BigInt": "bigint", "Integer": "integer", "SmallInt": "smallint", "Text": "text"}
CHANGES_NO_ROW = "COMMENT ON TABLE t IS ''"


def sql_of(call: OrmCall, known: Known) -> str | None:
    """None if the text does not tell."""
    table = call.values.get("tablename") or call.values.get("old_tablename")
    column = next((call.values[name] for name in COLUMN_NAMES if call.values.get(name)), None)
    if not table or ("column" in call.name and not column):
        return None
    alter = f'ALTER TABLE "{table}"'
    match call.name:
        case "add_table":
            return f'CREATE TABLE "{table}" ()'
        case "drop_table":
            return f'DROP TABLE "{table}"'
        case "rename_table" | "change_table_schema":
            return f"{alter} RENAME TO another"
        case "add_column":
            return _added(f'{alter} ADD COLUMN "{column}" text', call.values.get("params"))
        case "alter_column":
            return _altered(call, f'{alter} ALTER COLUMN "{column}"', f"{table}.{column}", known)
        case "drop_column":
            return f'{alter} DROP COLUMN "{column}"'
        case "rename_column":
            return f'{alter} RENAME COLUMN "{column}" TO another'
        case "add_constraint":
            return f"{alter} ADD CHECK (true)"
        case "drop_constraint":
            return f"{alter} DROP CONSTRAINT one"
    return None


def _added(add: str, params: object) -> str | None:
    if not isinstance(params, dict):
        return None
    has_default = params.get("default") not in (None, ...)
    words = {
        "NOT NULL": params.get("null") is not True,
        "DEFAULT ''": has_default,
        "UNIQUE": params.get("unique"),
        "PRIMARY KEY": params.get("primary_key"),
    }
    return " ".join([add, *(word for word, is_said in words.items() if is_said)])


def _altered(call: OrmCall, alter: str, place: str, known: Known) -> str | None:
    params, olds = (call.values.get(name) or {} for name in ("params", "old_params"))
    if not isinstance(params, dict) or not isinstance(olds, dict):
        return None
    found = []
    for name, value in params.items():
        match name, value:
            case "null", bool():
                found.append(f"{alter} {'DROP' if value else 'SET'} NOT NULL")
            case "unique", bool():
                table = alter.partition(" ALTER COLUMN")[0]
                found.append(f"{table} {'ADD UNIQUE (a)' if value else 'DROP CONSTRAINT one'}")
            case "default", _:
                found.append(f"{alter} SET DEFAULT ''")
            case "help_text" | "index" | "secret", _:
                found.append(CHANGES_NO_ROW)
            case "length", int():
                pass
            case _:
                return None
    old, new = (_type_of(call.values.get(f"{age}column_class"), its)
                for age, its in (("old_", olds), ("", params)))  # fmt: skip
    if new != old and new:
        known.types[place] = old
        found.append(f"{alter} TYPE {new}")
    return ";".join(found) or None


def _type_of(column_class: object, params: dict[str, object]) -> str:
    if column_class in SQL_TYPES:
        return SQL_TYPES[str(column_class)]
    if column_class is None or column_class == "Varchar":
        return f"varchar({params['length']})" if "length" in params else ""
    return f'"{str(column_class).lower()}"'
