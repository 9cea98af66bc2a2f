"""Every service's HTTP app: one factory, and one way for a change to be asked for once.

A handler names the permission it `needs`; a handler of a change takes `once: NamedDependency[Once]`
and hands it what to do and how to show it.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from litestar import Litestar, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import HeaderParameter, QueryParameter

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Malformed, NotPermitted, Refusal, Unavailable
from cbs.kernel.saga import Requester, Saga
from cbs.platform.bus import NotPermittedHook
from cbs.platform.context import current, now
from cbs.platform.idempotency import (
    KEY_CHARACTERS_MAX,
    KEY_CHARACTERS_MIN,
    KEY_PATTERN,
    Key,
    KeyStore,
)
from cbs.platform.openapi import X_REFUSALS_MEAN, ClosedStructs, RefusalsInOrder
from cbs.platform.problem import MEDIA_TYPE, failed, http_error, refused
from cbs.platform.saga import Sagas

BODY_BYTES_MAX = 64 * 1024
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
PERMISSION, JSON = "permission", "application/json"
VERSION = "1.0.0"

T = TypeVar("T")

IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=KEY_CHARACTERS_MIN,
        max_length=KEY_CHARACTERS_MAX,
        pattern=KEY_PATTERN,
        description="Made by the caller; asking again with it has no second effect.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One request for a change, with its key: `key` says which, calling it has the effect."""

    requests: KeyStore
    key: Key

    async def __call__(
        self,
        act: Callable[[], Awaitable[T]],
        view: Callable[[T], Any],
        *,
        status: int = 200,
    ) -> Response[Any]:
        """Run `act` in one transaction with the key, answer with `view` of it; or as before."""

        async def effect() -> Answer:
            return Answer(status=status, body=msgspec.json.encode(view(await act())))

        return answered(await self.requests.once(self.key, effect))

    async def by_saga(
        self, sagas: Sagas, begin: Callable[[Requester], Awaitable[Saga[Any]]]
    ) -> Response[Any]:
        """Begin a saga with the key, and answer when it is finished; or as before."""
        return answered(await sagas.run(self.key, begin))


def answered(answer: Answer | None) -> Response[Any]:
    """The answer as HTTP; none yet means that the bank is still at it."""
    if answer is None:
        raise Unavailable("under way: ask again with the same key")
    media_type = MEDIA_TYPE if answer.is_refusal else "application/json"
    return Response(answer.body, status_code=answer.status, media_type=media_type)


async def _once(
    request: Request[Any, Any, Any],
    requests: NamedDependency[KeyStore],
    idempotency_key: IdempotencyKey,
) -> Once:
    return Once(
        requests=requests,
        key=Key(
            principal=current().principal.id,
            key=idempotency_key,
            fingerprint=fingerprint(request.method, request.url.path, await request.body()),
            at=now(),
        ),
    )


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """SHA-256 of what is asked for, blind to white space and the order of fields.

    Raises Malformed also for a field that is there twice: what stands between us and the caller
    may have read the other one (RFC 8259, 4).
    """
    try:
        read = msgspec.json.decode(body) if body else None
        same = msgspec.json.encode(read, order="sorted") if body else b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    _refuse_doubled(body, read)
    return hashlib.sha256(b"\n".join([method.encode(), path.encode(), same])).digest()


def _refuse_doubled(body: bytes, read: object) -> None:
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
        _refuse_doubled(body, read)
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


def needs(permission: str) -> dict[str, str]:
    """The `opt` of a handler: the token must carry this permission."""
    return {PERMISSION: permission}


async def _admit(request: Request[Any, Any, Any]) -> None:
    """Before the handler: the permission, and no question that nobody would answer."""
    await _check_permission(request)
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


async def _check_permission(request: Request[Any, Any, Any]) -> None:
    """That somebody tried without is a fact, too.

    Not a guard of Litestar's: it copies the whole handler for each, at each request.
    """
    permission = request.route_handler.opt.get(PERMISSION)
    if permission is None or current().principal.may(permission):
        return
    hook: NotPermittedHook = request.app.state.on_not_permitted
    operation = f"{request.method} {request.scope['path_template']}"
    await hook(current().principal, permission, operation)
    raise NotPermitted(f"needs the permission {permission}")


def http_app(
    *,
    service: str,
    routes: Sequence[Any],
    provide: Mapping[str, Any],
    on_not_permitted: NotPermittedHook,
) -> Litestar:
    """`provide` is what handlers get by name: a value, or a Provide that finds it."""
    app = Litestar(
        route_handlers=list(routes),
        dependencies={
            "once": Provide(_once),
            **{name: _always(value) for name, value in provide.items()},
        },
        request_class=StrictRequest,
        before_request=_admit,
        exception_handlers={Refusal: refused, HTTPException: http_error, Exception: failed},
        plugins=[ClosedStructs(), RefusalsInOrder()],
        openapi_config=OpenAPIConfig(
            title=f"CBS {service}",
            version=VERSION,
            description=X_REFUSALS_MEAN,
            path="/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            components=Components(
                security_schemes={
                    "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
                }
            ),
            security=[{"bearer": []}],
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    app.state.on_not_permitted = on_not_permitted
    return app


def _always(value: object) -> Provide:
    if isinstance(value, Provide):
        return value

    def give() -> Any:
        return value

    return Provide(give, sync_to_thread=False)
