"""Lists page by an opaque cursor: where to go on, not how many to skip."""

import base64
import binascii
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from cbs.kernel.refusal import Malformed

NOT_OURS = "cursor: not one that a page of this list ended with"
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
    return _written(place)


def place_of(cursor: str, as_type: type[C]) -> C:
    """The place that `cursor_of` wrote; Malformed for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=as_type)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Malformed(NOT_OURS) from None
    # Ours is written in one way, and holds what PostgreSQL can have kept: no U+0000.
    if b"\\u0000" in raw or cursor != _written(place):
        raise Malformed(NOT_OURS)
    return place


def _written(place: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def check_order(since: date | None, until: date | None) -> None:
    """Of a period that `from` and `to` bound, each by itself; raises Malformed."""
    if since is not None and until is not None and since > until:
        raise Malformed("from: it is after `to`, so nothing can be between them")
