"""What is taken over HTTP is what the contract says, or it is refused: of one type, said once, and
written in one way. What stands between us and the caller may have read it otherwise.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from cbs.kernel.refusal import Malformed

JSON = "application/json"
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


class StrictRequest(Request[Any, Any, Any]):
    """Litestar's request, but that a body is what the contract says, or is refused: JSON by its
    name, each field once and of its own type. Litestar takes "7.0" for the number 7."""

    __slots__ = ()

    async def json(self) -> Any:
        """The body as the handler wants it. Raises Malformed, and HTTPException of what is not
        JSON by its name."""
        if not _is_json(self.headers.getall("content-type", [])):
            raise HTTPException(f"a body is {JSON}, and says so", status_code=415)
        body = await self.body()
        try:
            wanted = _decoder(self.route_handler).decode(body)
            read = msgspec.json.decode(body)
        except UnicodeDecodeError:
            raise Malformed("the body is not UTF-8") from None
        except RecursionError:
            raise Malformed("nested too deeply") from None
        except msgspec.ValidationError as error:
            raise Malformed(_placed(error)) from None
        except msgspec.DecodeError as error:
            raise Malformed(f"the body is not JSON: {error}") from None
        refuse_doubled(body, read)
        return wanted


@cache
def _decoder(handler: BaseRouteHandler) -> msgspec.json.Decoder[Any]:
    field = handler.parsed_data_field
    assert field is not None, handler
    return msgspec.json.Decoder(field.annotation)


def _is_json(types: Sequence[str]) -> bool:
    """One content type, and that is JSON in UTF-8 (RFC 8259, 8.1)."""
    name, _, parameters = (types[0] if len(types) == 1 else "").partition(";")
    said = parameters.replace(" ", "").lower()
    return name.strip().lower() == JSON and said in ("", "charset=utf-8", 'charset="utf-8"')


def _placed(error: msgspec.ValidationError) -> str:
    """What is wrong, after the field in which it is."""
    what, _, place = str(error).rpartition(" - at `$")
    field = place.removesuffix("`").removeprefix(".")
    return f"{field or 'body'}: {what}" if what else f"body: {error}"


def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Of query and path; raises Malformed."""
    if request.scope["query_string"]:
        asked = [name for name, _ in request.query_params.multi_items()]
        unknown = set(asked) - _query_names(request.route_handler)
        if unknown:
            # A filter that is misspelt must not show everything.
            raise Malformed(f"query: there is no {', '.join(sorted(unknown))} here"[:200])
        if len(asked) > len(set(asked)):
            raise Malformed("query: a parameter is there more than once")
        for name in asked:
            value = request.query_params[name]
            if name in _numbers(request.route_handler) and not INTEGER.fullmatch(value):
                raise Malformed(f"{name}: Expected `int`, got {value[:40]!r}")
    if request.path_params:
        _check_path(request)


@cache
def _query_names(handler: BaseRouteHandler) -> frozenset[str]:
    parameters = handler.parsed_fn_signature.parameters
    kinds = {name: field.kwarg_definition for name, field in parameters.items()}
    return frozenset(
        kind.name or name for name, kind in kinds.items() if isinstance(kind, QueryParameter)
    )


@cache
def _numbers(handler: BaseRouteHandler) -> frozenset[str]:
    """Parameters that are numbers: Litestar takes 7.0, 1e3 and 0.99999999999999999999 for one."""
    fields = handler.parsed_fn_signature.parameters.items()
    return frozenset(
        field.kwarg_definition.name or name
        for name, field in fields
        if isinstance(field.kwarg_definition, QueryParameter)
        and int in (field.annotation, *get_args(field.annotation))
    )


def _check_path(request: Request[Any, Any, Any]) -> None:
    """A number or an id in a path is written in one way."""
    parts = request.url.path.lower().split("/")
    for name, value in request.path_params.items():
        if not isinstance(value, str) and str(value) not in parts:
            raise Malformed(f"{name}: not as it is written")


def refuse_doubled(body: bytes, read: object) -> None:
    """`read` is the body as msgspec read it, which takes the last of two fields in silence.

    Without a field there is a colon less; the slow look is for those, and for escaped colons.
    """
    if body.count(b":") != _colons(read) or b"\\u003" in body:
        json.loads(body, object_pairs_hook=_each_once, parse_int=str, parse_float=str)


def _colons(read: object) -> int:
    """How many a JSON text of it has: one a field, and those in texts."""
    if isinstance(read, dict):
        return sum(1 + name.count(":") + _colons(value) for name, value in read.items())
    if isinstance(read, list):
        return sum(map(_colons, read))
    return read.count(":") if isinstance(read, str) else 0


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the field {twice[:40]!r} is there more than once")
    return fields
