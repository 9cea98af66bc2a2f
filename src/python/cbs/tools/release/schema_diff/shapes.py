"""A JSON Schema is a list of shapes, one a JSON type: that is what can be compared.

`$ref` is followed, `allOf` merged, `anyOf`, `oneOf`, lists of types and `nullable` spread out.
`oneOf` is read as `anyOf`: our documents use it for alternatives that exclude each other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Node = Any  # a schema of the document: a dict, or True or False

KINDS = ("array", "boolean", "null", "number", "object", "string")
OF_PYTHON = {
    bool: "boolean",
    dict: "object",
    float: "number",
    int: "integer",
    list: "array",
    str: "string",
    type(None): "null",
}
NUMBERS = frozenset({"integer", "number"})
# keyword -> (bound it is, kinds it applies to, whether the bound itself is left out)
LEAST = {
    "minimum": ("value", NUMBERS, False),
    "exclusiveMinimum": ("value", NUMBERS, True),
    "minLength": ("length", {"string"}, False),
    "minItems": ("number of items", {"array"}, False),
    "minProperties": ("number of fields", {"object"}, False),
}
MOST = {
    "maximum": ("value", NUMBERS, False),
    "exclusiveMaximum": ("value", NUMBERS, True),
    "maxLength": ("length", {"string"}, False),
    "maxItems": ("number of items", {"array"}, False),
    "maxProperties": ("number of fields", {"object"}, False),
}
LAWS = {
    "pattern": {"string"},
    "format": {"string", *NUMBERS},
    "contentEncoding": {"string"},
    "multipleOf": NUMBERS,
    "uniqueItems": {"array"},
}
STRUCTURE = {"properties", "required", "additionalProperties", "items", "type", "enum", "const"}
SPREAD = {"$ref", "allOf", "anyOf", "oneOf", "nullable"}
ANNOTATIONS = {
    "$comment", "$id", "$schema", "default", "deprecated", "description", "discriminator",
    "example", "examples", "externalDocs", "readOnly", "summary", "title", "writeOnly", "xml",
}  # fmt: skip
UNDERSTOOD = STRUCTURE | SPREAD | ANNOTATIONS | LEAST.keys() | MOST.keys() | LAWS.keys()
ALTERNATIVES_MAX = 1000


class Unreadable(ValueError):
    """The document refers to what it does not hold, or cannot be spread out."""


def canonical(value: Any) -> str:
    """Equal text for equal JSON: 1 and 1.0 are one number, true is none."""
    value = _whole_number(value)
    if isinstance(value, list):
        return f"[{', '.join(map(canonical, value))}]"
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {canonical(value[key])}" for key in sorted(value))
        return f"{{{', '.join(items)}}}"
    return json.dumps(value, ensure_ascii=False)


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one alternative lets through. `values` is an enumeration, canonical; None: any value.

    `least` and `most` hold a bound and 1 or -1 if the bound itself is out. `laws` are keywords
    that hold or not; `other` is what nobody here understands, to be compared as text.
    """

    kind: str
    title: str
    values: frozenset[str] | None
    least: Mapping[str, tuple[float, int]]
    most: Mapping[str, tuple[float, int]]
    laws: frozenset[tuple[str, str]]
    fields: Mapping[str, Node]
    required: frozenset[str]
    rest: Node
    items: Node
    other: str


class Schemas:
    """The schemas of one document; a node's shapes are made once, so that they have identity."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        # The nodes are kept with their shapes: an id is one node's only while the node lives.
        self._known: dict[int, tuple[Node, tuple[Shape, ...]]] = {}
        self._open: set[int] = set()

    def resolve(self, node: Any) -> Any:
        """What the chain of `$ref`s from a node ends at. Raises Unreadable."""
        seen: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            ref = node["$ref"]
            if ref in seen or not ref.startswith("#"):
                raise Unreadable(f"{ref} cannot be followed")
            seen.add(ref)
            node = self._document
            for part in ref.removeprefix("#").split("/")[1:]:
                key = unquote(part).replace("~1", "/").replace("~0", "~")
                if not isinstance(node, dict) or key not in node:
                    raise Unreadable(f"{ref} is not in the document")
                node = node[key]
        return node

    def shapes(self, node: Node) -> tuple[Shape, ...]:
        if id(node) in self._known:
            return self._known[id(node)][1]
        if isinstance(node, dict) and "$ref" in node and node.keys() <= {"$ref", *ANNOTATIONS}:
            return self.shapes(self.resolve(node))
        if id(node) in self._open:  # a schema that is itself and no more lets nothing through
            return ()
        self._open.add(id(node))
        try:
            shapes = tuple(self._spread(node))
        finally:
            self._open.discard(id(node))
        self._known[id(node)] = (node, shapes)
        return shapes

    def default(self, node: Node) -> str | None:
        """The default that a schema states, canonical; None if it states none."""
        if isinstance(node, dict) and "default" not in node and "$ref" in node:
            node = self.resolve(node)
        if isinstance(node, dict) and "default" in node:
            return canonical(node["default"])
        return None

    def _spread(self, node: Node) -> list[Shape]:
        if node is False:
            return []
        if node is True:
            node = {}
        if not isinstance(node, dict):
            raise Unreadable(f"{node!r} is no schema")
        parts: list[list[Shape]] = []
        own = {
            key: value
            for key, value in node.items()
            if key not in SPREAD | ANNOTATIONS and not key.startswith("x-")
        }
        alternatives = [node[key] for key in ("anyOf", "oneOf") if key in node]
        members = [self.resolve(node)] if "$ref" in node else []
        members += node.get("allOf", ())
        if own or not (members or alternatives):
            parts.append(self._own(own, node))
        parts += [list(self.shapes(member)) for member in members]
        parts += [[s for member in some for s in self.shapes(member)] for some in alternatives]
        shapes = parts[0]
        for part in parts[1:]:
            if len(shapes) * len(part) > ALTERNATIVES_MAX:
                raise Unreadable(f"a schema has more than {ALTERNATIVES_MAX} alternatives")
            pairs = ((one, other) for one in shapes for other in part)
            shapes = [both for one, other in pairs if (both := _both(one, other))]
        if node.get("nullable") is True:
            shapes += self._own({"type": "null"}, {})
        return [shape for at, shape in enumerate(shapes) if shape not in shapes[:at]]

    def _own(self, own: Mapping[str, Any], node: Mapping[str, Any]) -> list[Shape]:
        """The shapes of the keywords that stand in the schema itself."""
        values = own.get("enum")
        if "const" in own:
            values = [own["const"]]
        kinds = own.get("type", KINDS if values is None else _kinds_of(values))
        other = {key: self._whole(own[key], ()) for key in own.keys() - UNDERSTOOD}
        shapes = []
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            shape = Shape(
                kind=kind,
                title=node.get("title", ""),
                values=_values(kind, values),
                least=_bounds(LEAST, kind, own),
                most=_bounds(MOST, kind, own),
                laws=frozenset(
                    (law, canonical(own[law]))
                    for law, of in LAWS.items()
                    if law in own and own[law] is not False and kind in of
                ),
                fields=own.get("properties", {}) if kind == "object" else {},
                required=frozenset(own.get("required", ()) if kind == "object" else ()),
                rest=_open(own.get("additionalProperties", True)) if kind == "object" else True,
                items=_open(own.get("items", True)) if kind == "array" else True,
                other=canonical(other) if other else "",
            )
            if shape.values != frozenset():
                shapes.append(shape)
        return shapes

    def _whole(self, node: Any, inside: tuple[str, ...]) -> Any:
        """The node with its references written out, but for those to what it stands in."""
        if isinstance(node, list):
            return [self._whole(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        ref = node.get("$ref")
        if isinstance(ref, str) and ref not in inside:
            return self._whole(self.resolve(node), (*inside, ref))
        return {
            key: self._whole(value, inside) for key, value in node.items() if key not in ANNOTATIONS
        }


def _kinds_of(values: list[Any]) -> list[str]:
    kinds = {OF_PYTHON[type(value)] for value in map(_whole_number, values)}
    return sorted(kinds - {"integer"} if "number" in kinds else kinds)


def _values(kind: str, values: list[Any] | None) -> frozenset[str] | None:
    if values is None or kind == "null":
        return None
    kinds = NUMBERS if kind == "number" else {kind}
    values = [_whole_number(value) for value in values]
    some = frozenset(canonical(value) for value in values if OF_PYTHON[type(value)] in kinds)
    return None if some == {"false", "true"} else some


def _bounds(
    keywords: Mapping[str, tuple[str, Any, bool]], kind: str, own: Mapping[str, Any]
) -> dict[str, tuple[float, int]]:
    sign = 1 if keywords is LEAST else -1
    bounds: dict[str, tuple[float, int]] = {}
    for keyword, (name, of, out) in keywords.items():
        if keyword not in own or kind not in of or (name != "value" and own[keyword] * sign == 0):
            continue
        bound = (own[keyword], sign if out else 0)
        if kind == "integer" and out and float(bound[0]).is_integer():
            bound = (bound[0] + sign, 0)
        bounds[name] = tighter(sign, bounds.get(name), bound)
    return bounds


def tighter(
    sign: int, one: tuple[float, int] | None, other: tuple[float, int]
) -> tuple[float, int]:
    """Of two lower (sign 1) or upper (sign -1) bounds the one that lets less through."""
    if one is None:
        return other
    return max(one, other) if sign > 0 else min(one, other)


def _open(node: Node) -> Node:
    return True if node == {} else node


def _and(one: Node, other: Node) -> Node:
    if one is False or other is False:
        return False
    if other is True or one == other:
        return one
    return other if one is True else {"allOf": [one, other]}


def _both(one: Shape, other: Shape) -> Shape | None:
    """What both let through; None if that is nothing."""
    kinds = {one.kind, other.kind}
    if len(kinds) > 1 and kinds != NUMBERS:
        return None
    values = one.values if other.values is None else other.values
    if one.values is not None and other.values is not None:
        values = one.values & other.values
    if values == frozenset():
        return None
    least, most = dict(one.least), dict(one.most)
    for name, bound in other.least.items():
        least[name] = tighter(1, least.get(name), bound)
    for name, bound in other.most.items():
        most[name] = tighter(-1, most.get(name), bound)
    return Shape(
        kind=min(kinds),
        title=one.title or other.title,
        values=values,
        least=least,
        most=most,
        laws=one.laws | other.laws,
        fields={
            name: _and(one.fields.get(name, one.rest), other.fields.get(name, other.rest))
            for name in {**one.fields, **other.fields}
        },
        required=one.required | other.required,
        rest=_and(one.rest, other.rest),
        items=_and(one.items, other.items),
        other=" and ".join(sorted({one.other, other.other} - {""})),
    )
