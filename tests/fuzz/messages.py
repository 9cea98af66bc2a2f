"""Messages that the bus may carry: calls that are nearly right, and bytes that are nothing."""

import json
from typing import Any

from hypothesis import strategies as st

# What a field may be that nobody meant.
ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1,
        2**31,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**70,
        10**400,
        0.5,
        -0.0,
        1e308,
    ),
    *("", "\0", "a\0b", "\n", "INR\n", "\u0905" * 50, "a" * 200, "a" * 70_000, "../../x", "NaN"),
    *([], {}, [[]], {"a": {}}, ["a"] * 300, "00010000000017", "2026-02-30", "0" * 36),
]
TEXTS = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b'"\\ud800"',
    b'"\xff"',
    b"\xc3",
    b"\xef\xbb\xbf",
]
HOLE = "\u2020hole\u2020"


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    fields: Any = value.items() if isinstance(value, dict) else ()
    fields = enumerate(value) if isinstance(value, list) else fields
    for name, below in fields:
        found += paths(below, (*at, name))
    return found


def changed(value: Any, at: tuple[Any, ...], new: Any, *, drop: bool = False) -> Any:
    if not at:
        return new
    name, *rest = at
    copy = dict(value) if isinstance(value, dict) else list(value)
    if drop and not rest:
        del copy[name]
    else:
        copy[name] = changed(copy[name], tuple(rest), new, drop=drop)
    return copy


@st.composite
def nearly(draw: st.DrawFn, call: dict[str, Any]) -> bytes:
    """A call with one or two things wrong, in the fields or in the bytes."""
    for _ in range(draw(st.integers(1, 2))):
        found = paths(call)
        if not found:
            break
        at = draw(st.sampled_from(found))
        how = draw(st.sampled_from(["odd", "drop", "text", "nest", "twice"]))
        if how == "drop":
            call = changed(call, at, None, drop=True)
        elif how == "odd":
            call = changed(call, at, draw(st.sampled_from(ODD)))
        elif how == "nest":
            call = changed(call, at, [call])
        elif how == "text":
            text = json.dumps(changed(call, at, HOLE)).encode()
            return text.replace(json.dumps(HOLE).encode(), draw(st.sampled_from(TEXTS)))
        else:
            text = json.dumps(call).encode()
            name = json.dumps(str(at[-1])).encode()
            return text.replace(name + b":", name + b": 1, " + name + b":")
    text = json.dumps(call).encode()
    where = draw(st.none() | st.integers(0, len(text)))
    if where is None:
        return text
    return text[:where] + draw(
        st.sampled_from([b"", b"\0", b"}", b'"', b"\xff", text[where + 1 :]])
    )


NOTHING = (
    st.binary(max_size=300)
    | st.sampled_from(
        [b"", b"{", b"[" * 10_000, b'{"a":' * 10_000, b"\0" * 1000, b" " * 1_000_000, b"9" * 10_000]
    )
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
    ).map(lambda value: json.dumps(value).encode())
)
