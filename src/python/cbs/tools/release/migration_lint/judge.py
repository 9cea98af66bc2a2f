"""One rule for each kind of statement; what has no rule is for a person to decide."""

from collections.abc import Iterable

from postgast import nodes as ast
from postgast import pg_query_pb2 as pg

from cbs.tools.release.migration_lint.columns import add_column, alter_column
from cbs.tools.release.migration_lint.known import Known, name, name_of
from cbs.tools.release.migration_lint.verdicts import (
    StatementVerdict,
    contract,
    expand,
    unknown,
    worst,
)

TABLES = {pg.OBJECT_TABLE, pg.OBJECT_FOREIGN_TABLE}
OF_A_TABLE = {pg.OBJECT_TRIGGER, pg.OBJECT_POLICY, pg.OBJECT_RULE}
STORED = {
    pg.AT_ClusterOn, pg.AT_DropCluster, pg.AT_ResetRelOptions, pg.AT_SetAccessMethod,
    pg.AT_SetLogged, pg.AT_SetRelOptions, pg.AT_SetTableSpace,
}  # fmt: skip
HIDES_ROWS = {pg.AT_EnableRowSecurity, pg.AT_ForceRowSecurity}


def judge(statement: ast.AstNode, known: Known) -> StatementVerdict:
    match statement:
        case ast.CommentStmt() | ast.VariableSetStmt() | ast.VacuumStmt(is_vacuumcmd=False):
            return expand("changes nothing that is kept")
        case ast.IndexStmt() | ast.CreateTrigStmt() | ast.RuleStmt() | ast.CreatePolicyStmt():
            return _made_on_a_table(statement, known)
        case ast.AlterTableStmt():
            return _alter_table(statement, known)
        case ast.AlterEnumStmt(old_val="", type_name=names):
            return expand(f"{name(names)} has one value more; a reader may not know it")
        case ast.AlterEnumStmt(type_name=names):
            return contract(f"a value of {name(names)} that the running version knows is gone")
        case ast.RenameStmt():
            return _rename(statement, known)
        case ast.AlterObjectSchemaStmt():
            moved = name_of(statement.relation or statement.object)
            return _gone([moved], "is found elsewhere", known)
        case ast.DropStmt():
            return _drop(statement, known)
        case ast.GrantStmt() | ast.GrantRoleStmt(is_grant=True):
            return _grant(statement, known)
        case ast.AlterDefaultPrivilegesStmt(action=ast.GrantStmt(is_grant=True)):
            return expand("rights on what is made later")
        case ast.AlterDefaultPrivilegesStmt() | ast.GrantRoleStmt():
            return contract("a right of the running version may be taken away")
        case ast.InsertStmt() | ast.UpdateStmt() | ast.DeleteStmt() | ast.TruncateStmt():
            return _rows(statement, known)
    return _create(statement, known) or _unknown(statement, known)


def _unknown(statement: ast.AstNode, known: Known) -> StatementVerdict:
    """Whatever is done to what this very migration has made."""
    for place in ("relation", "sequence", "func", "object"):
        if name_of(getattr(statement, place, None)) in known.new:
            return expand("made in this very migration")
    return unknown(f"{type(statement).__name__.removesuffix('Stmt')} is not understood")


def _create(statement: ast.AstNode, known: Known) -> StatementVerdict | None:
    match statement:
        case ast.CreateStmt(table_elts=parts):
            made = name_of(statement.relation)
            for part in parts:
                if isinstance(part, ast.ColumnDef):
                    known.learn(made, part)
                elif isinstance(part, ast.Constraint):
                    known.learn_constraint(made, part)
        case ast.CreateTableAsStmt(into=ast.IntoClause(rel=relation)):
            made = name_of(relation)
        case ast.CreateFunctionStmt(funcname=names):
            made = f"{name(names)}()"
        case ast.ViewStmt(view=relation) | ast.CompositeTypeStmt(typevar=relation):
            made = name_of(relation)
        case ast.CreateSeqStmt(sequence=relation):
            made = name_of(relation)
        case ast.CreateDomainStmt(domainname=names) | ast.CreateEnumStmt(type_name=names):
            made = name(names)
        case ast.CreateRangeStmt(type_name=names) | ast.CreateStatsStmt(defnames=names):
            made = name(names)
        case ast.DefineStmt(kind=pg.OBJECT_AGGREGATE, defnames=names):
            made = f"{name(names)}()"
        case ast.DefineStmt(kind=pg.OBJECT_COLLATION | pg.OBJECT_TYPE, defnames=names):
            made = name(names)
        case ast.CreateSchemaStmt(schemaname=made) | ast.CreateExtensionStmt(extname=made):
            pass
        case ast.CreatePublicationStmt(pubname=made):
            pass
        case _:
            return None
    if getattr(statement, "replace", False) and made not in known.new:
        return unknown(f"{made} may do something else from now on")
    if not getattr(statement, "if_not_exists", False):
        known.new.add(made)
    return expand(f"{made} is new")


def _made_on_a_table(
    made: ast.IndexStmt | ast.CreateTrigStmt | ast.RuleStmt | ast.CreatePolicyStmt, known: Known
) -> StatementVerdict:
    table = name_of(made.table if isinstance(made, ast.CreatePolicyStmt) else made.relation)
    if isinstance(made, ast.IndexStmt) and made.idxname:
        known.unique[made.idxname] = made.unique
    if table in known.new:
        return expand("the table is new")
    if not isinstance(made, ast.IndexStmt):
        return unknown(f"what the running version does to {table} meets something new")
    if made.unique:
        return contract(f"the running version may write to {table} what is not unique")
    return expand(f"{table} is found faster")


def _alter_table(statement: ast.AlterTableStmt, known: Known) -> StatementVerdict:
    table = name_of(statement.relation)
    commands = [each for each in statement.cmds if isinstance(each, ast.AlterTableCmd)]
    for each in commands:
        if isinstance(each.def_, ast.Constraint):
            known.learn_constraint(table, each.def_)
    if table in known.new:
        return expand(f"{table} is new")
    if statement.objtype not in TABLES:
        return unknown(f"this change of {table} is not understood")
    return worst([_altered(table, each, known) for each in commands])


def _altered(table: str, command: ast.AlterTableCmd, known: Known) -> StatementVerdict:
    place = f"{table}.{command.name}"
    if command.name and place in known.new:
        return expand(f"{place} is new")
    match command.subtype:
        case pg.AT_AddColumn if isinstance(command.def_, ast.ColumnDef):
            return add_column(table, command.def_, known)
        case pg.AT_AddConstraint:
            return contract(f"the running version may write to {table} what is refused then")
        case pg.AT_DropConstraint:
            return _no_longer_unique([command.name], known) or expand("less is asked")
        case pg.AT_DropColumn:
            return contract(f"{place} is gone", place)
        case pg.AT_ValidateConstraint:
            return expand("looks at the rows that are there")
        case subtype if subtype in STORED:
            return expand("how it is stored")
        case subtype if subtype in HIDES_ROWS:
            return contract(f"rows of {table} are hidden from the running version")
    return alter_column(place, command, known)


def _rename(statement: ast.RenameStmt, known: Known) -> StatementVerdict:
    whole = name_of(statement.relation or statement.object)
    if whole in known.new:
        known.new.add(statement.newname)
        return expand(f"{whole} is new")
    if statement.rename_type == pg.OBJECT_COLUMN:
        whole = f"{whole}.{statement.subname}"
    elif statement.subname:  # a constraint, a trigger, a schema
        whole = statement.subname
    return _gone([whole], "has another name", known)


def _drop(statement: ast.DropStmt, known: Known) -> StatementVerdict:
    if statement.remove_type in OF_A_TABLE:
        for each in statement.objects:
            *_, table, thing = each.items if isinstance(each, ast.List) else []
            if name_of(table) not in known.new:
                what = f"what {name_of(thing)} does on {name_of(table)}"
                return contract(f"the running version may rely on {what}")
        return expand("the table is new")
    names = [name_of(each) for each in statement.objects]
    if statement.remove_type == pg.OBJECT_INDEX and not set(names) <= known.new:
        return _no_longer_unique(names, known) or expand("it made something faster")
    return _gone(names, "no longer there", known)


def _grant(statement: ast.GrantStmt | ast.GrantRoleStmt, known: Known) -> StatementVerdict:
    if isinstance(statement, ast.GrantRoleStmt) or statement.is_grant:
        return expand("a right more")
    why = "a right of the running version may be taken away"
    if statement.targtype != pg.ACL_TARGET_OBJECT:
        return contract(why)
    names = [each for each in map(name_of, statement.objects) if each not in known.new]
    if not names:
        return expand("made in this very migration")
    rights = [each for each in statement.privileges if isinstance(each, ast.AccessPriv)]
    columns = [name_of(column) for right in rights for column in right.cols]
    return contract(why, *([f"{table}.{each}" for table in names for each in columns] or names))


def _rows(
    statement: ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.TruncateStmt, known: Known
) -> StatementVerdict:
    if isinstance(statement, ast.TruncateStmt):
        return _gone(map(name_of, statement.relations), "has no rows any more", known)
    table = name_of(statement.relation)
    if statement.with_clause is not None:
        return unknown("what is in WITH is not read")
    if isinstance(statement, ast.DeleteStmt):
        return _gone([table], "has lost rows", known)
    if table in known.new:
        return expand("the table is new")
    if isinstance(statement, ast.InsertStmt):
        conflict = statement.on_conflict_clause
        if conflict is not None and conflict.action == pg.ONCONFLICT_UPDATE:
            return unknown(f"rows of {table} may be changed")
        return expand(f"rows of {table} that the service starts with")
    columns = [each.name for each in statement.target_list if isinstance(each, ast.ResTarget)]
    if all(f"{table}.{column}" in known.new for column in columns):
        return expand("fills what is new; every row is locked until the migration ends")
    return unknown(f"rows of {table} are changed under the running version")


def _no_longer_unique(names: Iterable[str], known: Known) -> StatementVerdict | None:
    """Without what is unique an ON CONFLICT fails, and what was refused is written twice."""
    for each in names:
        if each not in known.unique:
            return unknown(f"if {each} was unique, an ON CONFLICT of the running version needs it")
        if known.unique[each]:
            return contract(f"{each} was unique: an ON CONFLICT of the running version may need it")
    return None


def _gone(names: Iterable[str], why: str, known: Known) -> StatementVerdict:
    gone = [each for each in names if each not in known.new]
    if not gone:
        return expand("made in this very migration")
    return contract(f"{', '.join(gone)} {why}", *gone)
