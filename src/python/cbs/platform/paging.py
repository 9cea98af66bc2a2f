"""Lists page by an opaque cursor: where to go on, not how many to skip."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from cbs.kernel.refusal import Malformed

PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, CURSOR_CHARACTERS_MAX = 50, 200, 256

T = TypeVar("T")
C = TypeVar("C")

Cursor = Annotated[str, QueryParameter(name="cursor", max_length=CURSOR_CHARACTERS_MAX)]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=PAGE_ITEMS_MAX)]


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """`next_cursor` is absent on the last page."""

    items: list[T]
    next_cursor: str | None = None


def page_of(items: list[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page; a full one may have a next, and says where that begins."""
    return Page(items=items, next_cursor=cursor(items[-1]) if len(items) == limit else None)


def cursor_of(*place: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str, as_type: type[C]) -> C:
    """The place that `cursor_of` wrote; Malformed for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=as_type)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Malformed("cursor: not one that a page of this list ended with") from None
