"""An example has the fields that its reader's type has: no more, or the pact asks for too much."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.inspect import (
    AnyType,
    CustomType,
    DataclassType,
    DictType,
    Field,
    ListType,
    Metadata,
    RawType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

OPAQUE = (AnyType, RawType, DictType, CustomType)


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
