"""A mutant is a module with one small mistake in it; tests that are worth their place see it.

No mistake is made in annotations, decorators and docstrings, in what a refusal or an assertion says
besides its class, in zip's `strict`, nor in what is logged, measured or traced.
"""

import ast
import enum
import inspect
import marshal
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BOUNDARY: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
NEGATION: dict[type, type] = {
    **{ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
ARITHMETIC: dict[type, type] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}
OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
SQL_CLAUSE = re.compile(r"ORDER BY \w+|FOR NO KEY UPDATE|ON CONFLICT DO NOTHING|\bprincipal, ")
LEFT_ALONE = {"annotation", "returns", "decorator_list", "bases", "msg"}
NAMES_A_TYPE = {"NewType", "TypeVar"}
OBSERVES = ("log.", "telemetry.")
CONTEXT_CHARACTERS = 24

# The operator, and what stands in the node's place; of two, the second in its neighbour's.
Change = tuple[str, ast.AST] | tuple[str, ast.AST, ast.AST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`name` says where what became what; `lines` are the statement's, or those of its head."""

    name: str
    operator: str
    lines: range
    code: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands: `container[key]`, or the attribute `key` of a node."""

    node: ast.AST
    container: Any
    key: Any
    above: tuple[ast.AST, ...]

    def put(self, nodes: Sequence[ast.AST]) -> Sequence[ast.AST]:
        """Gives what stood there."""
        if isinstance(self.container, list):
            there = slice(self.key, self.key + len(nodes))
            before, self.container[there] = self.container[there], nodes
            return before
        setattr(self.container, self.key, nodes[0])
        return [self.node]

    @property
    def parent(self) -> ast.AST:
        return self.above[-1]

    @property
    def scope(self) -> str:
        named = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        return ".".join(each.name for each in self.above if isinstance(each, named)) or "module"

    @property
    def statement(self) -> ast.stmt:
        return next(e for e in (self.node, *reversed(self.above)) if isinstance(e, ast.stmt))

    @property
    def lines(self) -> range:
        body = getattr(self.statement, "body", None)
        first, last = self.statement.lineno, self.statement.end_lineno or 0
        if body and self.node is not self.statement:
            last = max(first, body[0].lineno - 1)
        return range(first, last + 1)


def mutants_of(source: str, names: Mapping[str, Any]) -> list[Mutant]:
    """All mutants of a module's source; `names` are those of the module itself, imported."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for place in _places(tree, ()):
        for operator, *nodes in _changes(place, names):
            whole = [place.statement] if place.statement is not place.node else []
            was = _text(whole)
            before = place.put(nodes)
            was, now = _difference(was or _text(before), _text(whole or nodes))
            code = compile(ast.fix_missing_locations(tree), "<mutant>", "exec")
            place.put(before)
            name = f"{place.scope}: {was} => {now}"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            found.append(
                Mutant(name=name, operator=operator, lines=place.lines, code=marshal.dumps(code))
            )
    return found


def _places(node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[Place]:
    for field, value in ast.iter_fields(node):
        if field in LEFT_ALONE:
            continue
        for key, child in enumerate(value) if isinstance(value, list) else [(field, value)]:
            if isinstance(child, ast.AST) and not _is_left_alone(child, node):
                yield Place(child, value if isinstance(value, list) else node, key, (*above, node))
                yield from _places(child, (*above, node))


def _is_left_alone(node: ast.AST, parent: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
        case ast.Call(func=ast.Name(id=name)) if name in NAMES_A_TYPE:
            return True
        case ast.Expr() | ast.withitem():
            return ast.unparse(node).startswith(OBSERVES)
        case ast.Constant(value=None) if isinstance(parent, ast.Compare):
            return True
    # Of a refusal only which one is raised.
    return isinstance(parent, ast.Raise) and not isinstance(node, ast.IfExp)


def _text(nodes: Sequence[ast.AST]) -> str:
    texts = [ast.unparse(each).splitlines() for each in nodes]
    # Of two that change places, their heads.
    return " ".join(
        " ".join(" ".join(each[: 2 if len(nodes) > 1 else None]).split()) for each in texts
    )


def _difference(was: str, now: str) -> tuple[str, str]:
    """Where they differ, and a few words on each side."""
    start = _alike(was, now)
    end = _alike(was[start:][::-1], now[start:][::-1])
    first = was.rfind(" ", 0, max(start - CONTEXT_CHARACTERS, 0)) + 1
    after = was.find(" ", len(was) - end + CONTEXT_CHARACTERS)
    cut = 0 if after < 0 else len(was) - after
    return was[first : len(was) - cut], now[first : len(now) - cut]


def _alike(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _changes(place: Place, names: Mapping[str, Any]) -> Iterator[Change]:
    node = place.node
    match node:
        case ast.stmt():
            yield from _statement(node, place)
        case ast.ExceptHandler():
            yield "handler removed", _but(node, body=[ast.Raise()])
        case ast.comprehension(ifs=[_]):
            yield "condition", _but(node, ifs=[])
        case ast.Compare(ops=ops):
            for n, op in enumerate(ops):
                for operator, table in (("boundary", BOUNDARY), ("negation", NEGATION)):
                    if type(op) in table:
                        changed = [*ops[:n], table[type(op)](), *ops[n + 1 :]]
                        yield operator, _but(node, ops=changed)
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            yield "arithmetic", _but(node, op=ARITHMETIC[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield "and/or", _but(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for rest in _one_less(values):
                yield "operand removed", rest[0] if len(rest) == 1 else _but(node, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "negation", operand
        case ast.IfExp(body=body, orelse=orelse):
            yield "condition", body
            yield "condition", orelse
        case ast.Call():
            yield from _call(node, place, names)
        case ast.Constant(value=value):
            yield from (("constant", ast.Constant(other)) for other in _values(value))
        case ast.Attribute(value=ast.Name(id=name), attr=member):
            members = _members(names.get(name))
            if member in members:
                other = members[(members.index(member) + 1) % len(members)]
                yield "enum member", _but(node, attr=other)
        case ast.Set(elts=elts) | ast.Tuple(elts=elts, ctx=ast.Load()) if _is_table(place.parent):
            for rest in _one_less(elts):
                yield "element removed", _but(node, elts=rest)


def _statement(node: ast.stmt, place: Place) -> Iterator[Change]:
    match node:
        case ast.Raise():
            yield "refusal removed", ast.Pass()
        case ast.Assert():
            yield "assertion removed", ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "call removed", ast.Pass()
        case ast.Continue():
            yield "loop left", ast.Break()
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "return value", ast.Return(ast.Constant(None))
        case ast.Assign() if isinstance(place.parent, ast.ClassDef) and not _is_enum(place.parent):
            yield "class attribute removed", ast.Pass()
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield "arithmetic", _but(node, op=ARITHMETIC[type(op)]())
        case ast.If(test=test) | ast.While(test=test):
            yield "condition", _but(node, test=ast.Constant(True))
            # A lone refusal that never comes is one that is removed.
            if not _refuses(node) or node.orelse:
                yield "condition", _but(node, test=ast.Constant(False))
            # The others have a negation of their own.
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                yield "negation", _but(node, test=ast.UnaryOp(ast.Not(), test))
    if isinstance(node, ast.If) and _refuses(node) and len(node.orelse) == 1:
        (other,) = node.orelse
        if isinstance(other, ast.If) and _refuses(other):
            yield "checks swapped", _but(other, orelse=[_but(node, orelse=other.orelse)])
    after = place.container[place.key + 1 :] if isinstance(place.container, list) else []
    if after and _checks(node) and _checks(after[0]) and not _same_refusal(node, after[0]):
        yield "checks swapped", after[0], node


def _call(node: ast.Call, place: Place, names: Mapping[str, Any]) -> Iterator[Change]:
    name, keywords = ast.unparse(node.func), node.keywords
    if name in OPPOSITE:
        kept = [] if name == "sorted" else keywords
        yield "opposite", _but(node, func=ast.Name(OPPOSITE[name], ast.Load()), keywords=kept)
    called = names.get(place.scope.split(".")[0] if name == "cls" else name)
    for n, (keyword, rest) in enumerate(zip(keywords, _one_less(keywords), strict=True)):
        if name == "replace" or keyword.arg in _optional(called):
            yield "argument dropped", _but(node, keywords=rest)
        following = keywords[n + 1] if n + 1 < len(keywords) else keyword
        if ast.unparse(keyword.value) != ast.unparse(following.value):
            crossed = [_but(keyword, value=following.value), _but(following, value=keyword.value)]
            swapped = [*keywords[:n], *crossed, *keywords[n + 2 :]]
            yield "arguments swapped", _but(node, keywords=swapped)


def _values(value: object) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case None:
            yield 0
        case int():
            yield from (value + 1, value - 1)
        case bytes():
            yield value + b"x"
        case str() if "\n" in value:
            for clause in SQL_CLAUSE.finditer(value):
                yield value[: clause.start()] + value[clause.end() :]
        case str():
            yield value + "x"


def _but(node: Any, **changed: Any) -> Any:
    return type(node)(**{field: getattr(node, field, None) for field in node._fields} | changed)


def _one_less(items: list[Any]) -> list[list[Any]]:
    return [items[:n] + items[n + 1 :] for n in range(len(items))]


def _refuses(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and len(node.body) == 1 and isinstance(node.body[0], ast.Raise)


def _same_refusal(one: Any, other: Any) -> bool:
    both = _refuses(one) and _refuses(other)
    return both and ast.unparse(one.body) == ast.unparse(other.body)


def _checks(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="self")))):
            return True
        case ast.If() | ast.For():
            return any(isinstance(each, ast.Raise) for each in ast.walk(node))
    return False


def _is_enum(node: ast.ClassDef) -> bool:
    return any("Enum" in ast.unparse(each) for each in node.bases)


def _is_table(parent: ast.AST) -> bool:
    """A constant, or what something is looked for in; not what is taken apart again."""
    match parent:
        case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign() | ast.Compare():
            return True
        case ast.Call(func=ast.Name(id="frozenset")):
            return True
    return False


def _members(named: Any) -> list[str]:
    return list(named.__members__) if isinstance(named, enum.EnumType) else []


def _optional(named: Any) -> set[str]:
    if not callable(named):
        return set()
    parameters = inspect.signature(named).parameters.values()
    return {each.name for each in parameters if each.default is not each.empty}
