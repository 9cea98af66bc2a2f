"""Every service's HTTP app: one factory, and one way for a change to be asked for once.

A handler names the permission it `needs`; a handler of a change takes `once: NamedDependency[Once]`
and hands it what to do and how to show it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Litestar, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import HeaderParameter

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
from cbs.platform.strict import StrictRequest, check_parameters, refuse_doubled

BODY_BYTES_MAX = 64 * 1024
PERMISSION = "permission"
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
    refuse_doubled(body, read)
    return hashlib.sha256(b"\n".join([method.encode(), path.encode(), same])).digest()


def needs(permission: str) -> dict[str, str]:
    """The `opt` of a handler: the token must carry this permission."""
    return {PERMISSION: permission}


async def _admit(request: Request[Any, Any, Any]) -> None:
    """Before the handler: the permission, and no question that nobody would answer."""
    await _check_permission(request)
    check_parameters(request)


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
