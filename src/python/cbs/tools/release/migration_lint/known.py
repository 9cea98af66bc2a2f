"""What is known of a schema: the types of its columns, and what this migration has made itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from postgast import nodes as ast
from postgast import pg_query_pb2 as pg

WIDER = {"int4": {"int8"}, "int2": {"int4", "int8"}, "varchar": {"text", "varchar"}}


UNIQUE = {pg.CONSTR_PRIMARY, pg.CONSTR_UNIQUE, pg.CONSTR_EXCLUSION}
# By what PostgreSQL ends the name that nobody gave.
ENDINGS = {
    pg.CONSTR_PRIMARY: "pkey",
    pg.CONSTR_UNIQUE: "key",
    pg.CONSTR_EXCLUSION: "excl",
    pg.CONSTR_CHECK: "check",
    pg.CONSTR_FOREIGN: "fkey",
}


@dataclass(slots=True)
class Known:
    """`new` has tables and other names; columns as `table.column`, functions as `function()`.
    `unique` tells of each constraint and index that is known whether ON CONFLICT can go by it."""

    types: dict[str, str] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    unique: dict[str, bool] = field(default_factory=dict)

    def learn(self, table: str, column: ast.ColumnDef) -> str:
        """The column as `table.column`."""
        place = f"{table}.{column.colname}"
        self.types[place] = type_of(column.type_name)
        for each in column.constraints:
            if isinstance(each, ast.Constraint):
                self.learn_constraint(table, each, column.colname)
        return place

    def learn_constraint(self, table: str, made: ast.Constraint, *columns: str) -> None:
        if made.contype not in ENDINGS:
            return
        named = [name_of(each) for each in (*made.keys, *made.fk_attrs)] or columns
        within = [] if made.contype == pg.CONSTR_PRIMARY else named
        called = made.conname or "_".join([table, *within, ENDINGS[made.contype]])
        self.unique[called] = made.contype in UNIQUE


def name(parts: Sequence[ast.AstNode]) -> str:
    """The last part: without a schema."""
    return name_of(parts[-1]) if parts else ""


def name_of(node: ast.AstNode | None) -> str:
    match node:
        case ast.RangeVar(relname=found) | ast.String(sval=found):
            return found
        case ast.ObjectWithArgs(objname=parts):
            return f"{name(parts)}()"
        case ast.List(items=parts) | ast.TypeName(names=parts):
            return name(parts)
    return ""


def type_of(type_name: ast.TypeName | None) -> str:
    """As PostgreSQL calls it, without its schema: varchar(16), int4, text[]."""
    if type_name is None:
        return ""
    sizes = [mod.val for mod in type_name.typmods if isinstance(mod, ast.A_Const)]
    numbers = ", ".join(str(size.ival) for size in sizes if isinstance(size, ast.Integer))
    arrays = "[]" * len(type_name.array_bounds)
    return name(type_name.names) + (f"({numbers})" if numbers else "") + arrays


def is_wider(old: str, new: str) -> bool:
    """Does whatever fitted the old type fit the new one, and read the same?"""
    kind, _, length = old.partition("(")
    kind_now, _, length_now = new.partition("(")
    if kind_now not in WIDER.get(kind, ()):
        return False
    if not length_now:
        return True
    return bool(length) and int(length_now.rstrip(")")) >= int(length.rstrip(")"))
