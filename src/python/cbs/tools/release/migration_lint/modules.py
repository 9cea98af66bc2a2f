"""What a migration runs is read from its text: it may be another commit's, so it is never run."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

ORM_CALLS = {
    "add_column", "add_constraint", "add_raw", "add_table", "alter_column", "change_table_schema",
    "drop_column", "drop_constraint", "drop_table", "rename_column", "rename_table",
}  # fmt: skip
RUNS_SQL = {"execute", "executemany", "fetch", "raw", "run_ddl"}


@dataclass(frozen=True, slots=True)
class Unread:
    """A piece that is worked out only when the migration runs."""

    shown: str
    why: str


@dataclass(frozen=True, slots=True)
class OrmCall:
    """A call of piccolo's MigrationManager; `values` are the arguments that stand there plainly."""

    name: str
    values: dict[str, object]
    shown: str


def written(module_text: str) -> list[str | Unread | OrmCall]:
    """The scripts, calls and unreadable pieces of a migration, in order."""
    try:
        tree = ast.parse(module_text)
    except SyntaxError as error:
        return [Unread(module_text, f"this is no Python that can be read here: {error.msg}")]
    texts = _constants(tree)
    calls = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Call)),
        key=lambda node: (node.lineno, node.col_offset),
    )
    found: list[str | Unread | OrmCall] = []
    a_migration = False
    for call in calls:
        name = ast.unparse(call.func).rpartition(".")[2]
        a_migration |= name in ("sql_migration", "MigrationManager")
        if name == "sql_migration":
            script = [word.value for word in call.keywords if word.arg == "script"]
            found += _pieces(script[0], texts) if script else [_unread(call)]
        elif name in ORM_CALLS:
            found.append(OrmCall(name, _plain(call), ast.unparse(call)))
        elif name in RUNS_SQL and call.args:
            found += _pieces(call.args[0], texts)
    return found if a_migration else [*found, Unread("", "no migration is found in the text")]


def _constants(tree: ast.AST) -> dict[str, ast.expr | None]:
    """What a name stands for, if it is assigned once."""
    found: dict[str, ast.expr | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        elif isinstance(node, ast.AugAssign):
            targets, value = [node.target, node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = None if target.id in found or len(targets) > 1 else value
    return found


def _pieces(node: ast.expr, texts: dict[str, ast.expr | None]) -> list[str | Unread | OrmCall]:
    """Texts that follow each other are one script; what is not text stands between."""
    found: list[str | Unread | OrmCall] = []
    for piece in _flat(node, texts, ()):
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        else:
            found.append(piece)
    return found


def _flat(
    node: ast.expr, texts: dict[str, ast.expr | None], inside: tuple[str, ...]
) -> Iterator[str | Unread]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _flat(node.left, texts, inside)
        yield from _flat(node.right, texts, inside)
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _flat(value, texts, inside)
    elif isinstance(node, ast.FormattedValue) and not node.format_spec and node.conversion == -1:
        yield from _flat(node.value, texts, inside)
    elif isinstance(node, ast.Name) and node.id not in inside:
        known = texts.get(node.id)
        if known is None:
            yield _unread(node)
        else:
            yield from _flat(known, texts, (*inside, node.id))
    else:
        yield _unread(node)


def _unread(node: ast.expr) -> Unread:
    return Unread(ast.unparse(node), "what SQL this makes cannot be read from the text")


def _plain(call: ast.Call) -> dict[str, object]:
    values: dict[str, object] = {}
    for word in call.keywords:
        if word.arg is None:
            continue
        if isinstance(word.value, ast.Dict):
            values[word.arg] = {
                ast.literal_eval(key): value.value if isinstance(value, ast.Constant) else ...
                for key, value in zip(word.value.keys, word.value.values, strict=True)
                if isinstance(key, ast.Constant)
            }
        elif isinstance(word.value, ast.Constant):
            values[word.arg] = word.value.value
        else:
            values[word.arg] = ast.unparse(word.value)
    return values
