"""Piccolo's own migration calls are judged as the SQL they become."""

from cbs.tools.release.migration_lint.columns import Columns, wider
from cbs.tools.release.migration_lint.modules import Call
from cbs.tools.release.migration_lint.verdicts import Verdict, contract, expand, unknown, worst

SQL_TYPES = {"BigInt": "bigint", "Integer": "integer", "SmallInt": "smallint", "Text": "text"}


def step_of_call(call: Call, known: Columns) -> Verdict:
    table = str(call.values.get("tablename") or call.values.get("old_tablename") or "")
    values = call.values
    if call.name == "add_table" and table:
        known.new.add(table)
        return expand(f"{table} is new")
    if table in known.new:
        return expand(f"{table} is new")
    column = str(
        values.get("db_column_name") or values.get("column_name")
        or values.get("old_db_column_name") or values.get("old_column_name") or ""
    )  # fmt: skip
    place = f"{table}.{column}"
    match call.name:
        case "add_column" if table and column:
            return _added(place, values.get("params"))
        case "alter_column" if table and column:
            return _altered(place, values)
        case "drop_column" if table and column:
            return contract(f"{place} is gone", place)
        case "rename_column" if table and column:
            return contract(f"{place} has another name", place)
        case "drop_table" if table:
            return contract(f"{table} is gone", table)
        case "rename_table" | "change_table_schema" if table:
            return contract(f"{table} is found elsewhere", table)
        case "add_constraint":
            return contract(f"the running version may write to {table} what is refused then")
        case "drop_constraint":
            return expand("less is asked")
    return unknown(f"what {call.name} does cannot be read from the text")


def _added(place: str, params: object) -> Verdict:
    if not isinstance(params, dict):
        return unknown(f"whether {place} may be empty cannot be read from the text")
    if params.get("null") is True:
        return expand(f"{place} may be left out")
    if params.get("default") in (None, ...):
        return contract(f"an INSERT of the running version leaves {place} out")
    if params.get("unique") or params.get("primary_key"):
        return contract(f"the running version would write {place} twice alike")
    return expand(f"{place} is filled in")


def _altered(place: str, values: dict[str, object]) -> Verdict:
    params, olds = values.get("params") or {}, values.get("old_params") or {}
    if not isinstance(params, dict) or not isinstance(olds, dict):
        return unknown(f"what becomes of {place} cannot be read from the text")
    verdicts = [_param(place, name, value, olds.get(name)) for name, value in params.items()]
    old, new = values.get("old_column_class"), values.get("column_class")
    if old != new and new is not None:
        before, after = (SQL_TYPES.get(str(each), "") for each in (old, new))
        fits = wider(before, after) or (old, new) == ("Varchar", "Text")
        verdicts.append(
            expand(f"{place} takes more") if fits else contract(f"{place} is {new}, not {old}")
        )
    return worst(verdicts) if verdicts else unknown(f"nothing of {place} is named")


def _param(place: str, name: str, value: object, old: object) -> Verdict:
    match name, value:
        case "null" | "unique", bool():
            less = value is (name == "null")
            what = f"{name} of {place} is {value}"
            return expand(what) if less else contract(what)
        case "default" | "help_text" | "secret" | "index", _:
            return expand(f"{name} of {place} is another")
        case "length", int() if isinstance(old, int):
            what = f"{place} holds {value} characters instead of {old}"
            return expand(what) if value >= old else contract(what)
    return unknown(f"{name} of {place} is not understood")
