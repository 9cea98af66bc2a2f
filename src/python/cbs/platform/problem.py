"""Every no on HTTP is an RFC 9457 problem document; here, and only here, it gets its status."""

import asyncio
from collections import defaultdict
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import (
    Busy,
    Malformed,
    NotPermitted,
    NotSignedIn,
    Refusal,
    RefusalKind,
    Unavailable,
)
from cbs.platform.database import UNREACHABLE

STATUS = {
    RefusalKind.MALFORMED: 400,
    RefusalKind.UNAUTHENTICATED: 401,
    RefusalKind.NOT_ALLOWED: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.BUSY: 429,
    RefusalKind.UNAVAILABLE: 503,
}
KIND = {status: kind for kind, status in STATUS.items()}
# What is refused before it is known what is asked for.
CODES = {404: "no-such-resource", 405: "method-not-allowed", 413: "too-large", 415: "not-json"}
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
# Litestar 2.25 calls it a 500 of its own, and has no other name for it.
HUNG_UP = "client disconnected prematurely"

log = structlog.get_logger()


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """RFC 9457. `type` is stable; `title` is for people; `detail` is about this one case."""

    type: str
    title: str
    status: int
    detail: str = ""


def problem_of(refusal: Refusal) -> Problem:
    title = getattr(refusal, "title", None) or refusal.__doc__ or ""
    return Problem(
        type=f"urn:cbs:{refusal.code}",
        title=" ".join(title.split()),
        status=STATUS[refusal.kind],
        detail=refusal.detail,
    )


def answer_of(refusal: Refusal) -> Answer:
    """The refusal as it is kept under its key, to be given again byte for byte."""
    problem = problem_of(refusal)
    return Answer(status=problem.status, body=msgspec.json.encode(problem))


class NoSuchResource(Refusal):
    """There is nothing at this path."""

    code = CODES[404]
    kind = RefusalKind.NOT_FOUND


class KeptRefusal(Refusal):
    """A refusal that was given before under the same key, and is given again."""

    code = "refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.kind = KIND[problem.status]  # type: ignore[misc]
        self.code = problem.type.removeprefix("urn:cbs:")  # type: ignore[misc]
        self.title = problem.title


def refusal_of(answer: Answer) -> Refusal:
    """The refusal that `answer_of` kept."""
    return KeptRefusal(msgspec.json.decode(answer.body, type=Problem))


def refused(_: Request[Any, Any, Any], refusal: Refusal) -> Response[Problem]:
    return _response(problem_of(refusal))


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What Litestar itself refuses: no such path, wrong method, a body it cannot read."""
    if error.detail == HUNG_UP:
        log.info("client-gone", path=request.url.path)
        return _response(problem_of(Malformed("the body did not wholly arrive")))
    if error.status_code >= 500:
        return failed(request, error)
    code = CODES.get(error.status_code, "malformed")
    detail = error.detail
    if isinstance(error.extra, list):
        detail = "; ".join(
            f"{item.get('key', 'body')}: {item.get('message', '')}"
            for item in error.extra
            if isinstance(item, dict)
        )
    response = _response(
        Problem(
            type=f"urn:cbs:{code}",
            title="The request cannot be served as it stands.",
            status=error.status_code,
            detail=detail[:2000],
        )
    )
    response.headers.update(error.headers or {})
    return response


def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """What nobody foresaw is logged and says nothing; an outage says when to come back."""
    if isinstance(error, (*UNREACHABLE, asyncio.TimeoutError)):
        log.warning("unavailable", path=request.url.path, error=repr(error))
        return _response(problem_of(Unavailable()))
    log.error("request-failed", path=request.url.path, exc_info=error)
    return _response(
        Problem(
            type="urn:cbs:internal-error",
            title="The bank made a mistake; what became of the request can be asked by its key.",
            status=500,
        )
    )


def _response(problem: Problem) -> Response[Problem]:
    headers = {}
    if problem.status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="cbs"'
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


# Before a handler is asked. An outage, `unavailable`, may come instead of any refusal.
ALWAYS: tuple[type[Refusal], ...] = (Busy, NotSignedIn, NotPermitted, Malformed)


class Refusals(dict[int, ResponseSpec]):
    """What a handler answers besides success, by status; `order` holds the codes as they come."""

    order: list[str]


def refusals(*types: type[Refusal], anybody: bool = False) -> Refusals:
    """The documented answers of a handler that raises these: the first that applies is given.

    What stands before KeyReused is not kept under the key. `anybody` may ask who is signed in.
    """
    everywhere = always(needs_permission=not anybody)
    raised: list[type[Refusal]] = [*everywhere, Unavailable, *types]
    by_status: dict[int, list[str]] = defaultdict(list)
    for refusal in raised:
        by_status[STATUS[refusal.kind]].append(refusal.code)
    found = Refusals((status, _documented(codes)) for status, codes in by_status.items())
    found.order = in_order(*everywhere, *types)
    return found


def always(*, needs_permission: bool) -> list[type[Refusal]]:
    return [each for each in ALWAYS if needs_permission or each is not NotPermitted]


def in_order(*types: type[Refusal]) -> list[str]:
    """Their codes, as a contract shows them in `x-refusals`."""
    return list(dict.fromkeys(refusal.code for refusal in types))


def _documented(codes: list[str]) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem,
        description=", ".join(dict.fromkeys(codes)),
        generate_examples=False,
        media_type=MEDIA_TYPE,
    )
