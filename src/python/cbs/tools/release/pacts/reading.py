"""An example has the fields that its reader's type has: no more, or the pact asks for too much.

And money is told by value and unit: by its type alone, rupees would do for paise. Of what one
example cannot show, the values that a reader knows at a place are noted (`known_values`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.inspect import (
    AnyType,
    CustomType,
    DataclassType,
    DictType,
    EnumType,
    Field,
    ListType,
    LiteralType,
    Metadata,
    RawType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)
from pact.match import AbstractMatcher

from cbs.tools.release.gate.unshown import ANY_TEXT

OPAQUE = (AnyType, RawType, DictType, CustomType)
MINOR, CURRENCY = "_minor", "currency"


def example_of(value: Any) -> Any:
    """The value without its matchers, as a provider might say it."""
    if isinstance(value, AbstractMatcher):
        return example_of(value.to_integration_json()["value"])
    if isinstance(value, Mapping):
        return {name: example_of(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [example_of(each) for each in value]
    return value


def wrong(reply: Any, reads: Any) -> list[str]:
    """What keeps this reply, with its matchers, from being an example of what is read."""
    return unread(example_of(reply), reads) + list(loose_money(reply))


def loose_money(value: Any, place: str = "$", *, loose: bool = False) -> Iterator[str]:
    """Where an amount or a currency is matched by less than its value; `loose`: all below is."""
    if isinstance(value, AbstractMatcher):
        yield from loose_money(value.to_integration_json()["value"], place, loose=True)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from loose_money(each, f"{place}.{name}", loose=loose)
    elif isinstance(value, list | tuple):
        for n, each in enumerate(value):
            yield from loose_money(each, f"{place}[{n}]", loose=loose)
    elif loose and place.endswith((MINOR, f".{CURRENCY}")):
        yield f"{place} is money, and not matched by its value"


def known_values(example: Any, reads: Any, place: str = "$") -> dict[str, list[str]] | str:
    """Where in the example the reader's type takes some texts only, and which; `[]` is any item.
    ANY_TEXT, if it takes any wherever it takes one."""
    return ANY_TEXT if reads is None else _known(example, _type(reads), place) or ANY_TEXT


def _known(example: Any, info: Type, place: str) -> dict[str, list[str]]:
    if isinstance(info, Metadata):
        info = info.type
    if isinstance(info, EnumType | LiteralType):
        values = [each.value for each in info.cls] if isinstance(info, EnumType) else info.values
        return {place: sorted(str(each) for each in values)}
    inner: list[tuple[Any, Type, str]] = []
    if isinstance(info, UnionType):
        inner = [(example, each, place) for each in info.types]
    elif isinstance(info, StructType | DataclassType) and isinstance(example, Mapping):
        fields = {each.encode_name: each.type for each in info.fields}
        inner = [
            (each, fields[name], f"{place}.{name}")
            for name, each in example.items()
            if name in fields
        ]
    elif isinstance(info, ListType | VarTupleType) and isinstance(example, list):
        inner = [(each, info.item_type, f"{place}[]") for each in example]
    return {where: values for each in inner for where, values in _known(*each).items()}


def unread(example: Any, reads: Any) -> list[str]:
    """Where the example has a field that is not read, or lacks one that is; [] if it is just so.

    What is read as it is (`Raw`, `Any`, a mapping) may hold anything.
    """
    return list(_differences(example, _type(reads), "$"))


def _type(reads: Any) -> Type:
    info = type_info(reads)
    return info.type if isinstance(info, Metadata) else info


def _differences(example: Any, info: Type, place: str) -> list[str]:
    if isinstance(info, Metadata):
        info = info.type
    if isinstance(info, UnionType):
        if example is None:
            return []
        rest = [each for each in info.types if not isinstance(each, msgspec.inspect.NoneType)]
        return min((_differences(example, each, place) for each in rest), key=len)
    if isinstance(info, OPAQUE):
        return []
    if isinstance(info, StructType | DataclassType):
        return _of_struct(example, info.fields, place)
    if isinstance(info, ListType | VarTupleType) and isinstance(example, list):
        item = info.item_type
        return [
            d for n, each in enumerate(example) for d in _differences(each, item, f"{place}[{n}]")
        ]
    if isinstance(info, TupleType) and isinstance(example, list):
        pairs = zip(example, info.item_types, strict=False)
        return [d for n, (e, t) in enumerate(pairs) for d in _differences(e, t, f"{place}[{n}]")]
    return []


def _of_struct(example: Any, fields: tuple[Field, ...], place: str) -> list[str]:
    if not isinstance(example, Mapping):
        return [f"{place} is not an object"]
    known = {each.encode_name: each for each in fields}
    found = [f"{place}.{name} is not read" for name in sorted(example.keys() - known.keys())]
    for name, each in known.items():
        if name in example:
            found += _differences(example[name], each.type, f"{place}.{name}")
        elif each.required:
            found.append(f"{place}.{name} is read, but not in the example")
    return found
