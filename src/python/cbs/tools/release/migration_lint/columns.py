"""A column may come empty and may grow; the version that runs knows nothing of it, nor needs to."""

from collections.abc import Iterator

from postgast import nodes as ast
from postgast import pg_query_pb2 as pg
from postgast import walk_typed

from cbs.tools.release.migration_lint.known import Known, is_wider, name, type_of
from cbs.tools.release.migration_lint.verdicts import StatementVerdict, contract, expand, unknown

SERIAL = {"bigserial", "serial", "smallserial"}
# Each row gets another value.
COUNTING = {"gen_random_uuid", "nextval", "uuidv4", "uuidv7"}
FILLED = {pg.CONSTR_DEFAULT, pg.CONSTR_GENERATED, pg.CONSTR_IDENTITY}
STORED = {
    pg.AT_ResetOptions, pg.AT_SetCompression, pg.AT_SetOptions, pg.AT_SetStatistics,
    pg.AT_SetStorage,
}  # fmt: skip


def add_column(table: str, column: ast.ColumnDef, known: Known) -> StatementVerdict:
    place = known.learn(table, column)
    known.new.add(place)
    constraints = [each for each in column.constraints if isinstance(each, ast.Constraint)]
    kinds = {each.contype for each in constraints if not _is_null(each)}
    counts = known.types[place] in SERIAL
    filled = counts or bool(kinds & FILLED)
    if not filled and kinds & {pg.CONSTR_NOTNULL, pg.CONSTR_PRIMARY}:
        return contract(f"an INSERT of the running version leaves {place} out")
    counts |= pg.CONSTR_IDENTITY in kinds or any(map(_counts, constraints))
    if filled and not counts and kinds & {pg.CONSTR_UNIQUE, pg.CONSTR_PRIMARY}:
        return contract(f"the running version would write {place} twice alike")
    for each in constraints:
        if others := sorted(_columns(each) - {column.colname}):
            return contract(
                f"the check of {place} is of {', '.join(others)}, too: what the running"
                " version writes there may be refused"
            )
    if any(map(_asks_for_a_value, constraints)):
        return unknown(f"the check of {place} may refuse that it is left out")
    return expand(f"{place} is filled in" if filled else f"{place} may be left out")


def _is_null(constraint: ast.Constraint) -> bool:
    """DEFAULT NULL fills nothing in."""
    return isinstance(constraint.raw_expr, ast.A_Const) and constraint.raw_expr.isnull


def _counts(constraint: ast.Constraint) -> bool:
    return constraint.contype == pg.CONSTR_DEFAULT and not COUNTING.isdisjoint(_calls(constraint))


def _calls(constraint: ast.Constraint) -> Iterator[str]:
    for _, node in walk_typed(constraint):
        if isinstance(node, ast.FuncCall):
            yield from (part.sval for part in node.funcname[-1:] if isinstance(part, ast.String))


def _columns(constraint: ast.Constraint) -> set[str]:
    """Of a check: PostgreSQL lets that of a column name others."""
    refs = [node for _, node in walk_typed(constraint) if isinstance(node, ast.ColumnRef)]
    return {name(each.fields) for each in refs} if constraint.contype == pg.CONSTR_CHECK else set()


def _asks_for_a_value(constraint: ast.Constraint) -> bool:
    """A check holds for NULL, unless it looks for it."""
    nodes = [node for _, node in walk_typed(constraint)]
    return constraint.contype == pg.CONSTR_CHECK and any(
        isinstance(node, ast.NullTest | ast.CoalesceExpr) for node in nodes
    )


def alter_column(place: str, command: ast.AlterTableCmd, known: Known) -> StatementVerdict:
    match command.subtype:
        case pg.AT_DropNotNull:
            return expand(f"{place} may be empty; a reader may meet that")
        case pg.AT_SetNotNull:
            return contract(f"the running version may leave {place} empty")
        case pg.AT_ColumnDefault if command.def_ is None:
            return contract(f"an INSERT of the running version may rely on the default of {place}")
        case pg.AT_ColumnDefault:
            return expand(f"what {place} is if it is left out")
        case pg.AT_AlterColumnType if isinstance(command.def_, ast.ColumnDef):
            return _typed(place, command.def_, known)
        case subtype if subtype in STORED:
            return expand("how it is stored")
    return unknown(f"this change of {place} is not understood")


def _typed(place: str, column: ast.ColumnDef, known: Known) -> StatementVerdict:
    old, new = known.types.get(place), type_of(column.type_name)
    known.types[place] = new
    if column.raw_default is not None:
        return contract(f"the values of {place} are converted")
    if old is None:
        return unknown(f"what {place} was before is not known here")
    if old == new:
        return expand(f"{place} is {new} already")
    if is_wider(old, new):
        return expand(f"{place} takes more: {new} instead of {old}")
    return contract(f"{place} is {new} instead of {old}")
