"""A name is in use if the code could say it to the database: rather once too often than never."""

import ast
import re
from collections.abc import Iterator, Mapping


def still_used(name: str, sources: Mapping[str, str]) -> list[str]:
    """The files in which a table, `table.column` or `function()` is still used.

    `sources`: path -> text of a version without its migrations. A column counts only if some file
    uses its table. Comments and docstrings do not count; any other text does.
    """
    table, _, column = name.removesuffix("()").partition(".")
    said = {path: list(_said(text)) for path, text in sources.items()}
    users = _files(table, said)
    return _files(column, said) if column and users else users


def _files(word: str, said: Mapping[str, list[str]]) -> list[str]:
    whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    return sorted(path for path, texts in said.items() if any(map(whole.search, texts)))


def _said(text: str) -> Iterator[str]:
    """Texts, and the names by which piccolo's tables and columns are defined and reached."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        yield text
        return
    idle = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in idle:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) for v in node.values if isinstance(v, ast.Constant))
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.ClassDef):
            yield re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower()
            yield from _fields(node)


def _fields(definition: ast.ClassDef) -> Iterator[str]:
    for node in definition.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))
