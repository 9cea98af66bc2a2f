"""A rule book: what each operation refuses, in its order, and what makes a request deserve it.

A rule names a refusal and one change to a good request. Two rules that change the same field
exclude each other; all others are deserved together, and then the earlier one is the answer.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import uuid4

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from cbs.kernel.refusal import (
    Busy,
    KeyReused,
    Malformed,
    NotPermitted,
    NotSignedIn,
    Refusal,
    Unavailable,
)
from cbs.platform import admission, bus
from cbs.platform.asyncapi import asyncapi
from cbs.platform.bus import CALL_SECONDS_MAX
from cbs.platform.envelope import Call, encode, reply_decoder
from cbs.platform.http import PERMISSION
from cbs.platform.openapi import X_REFUSALS
from cbs.platform.problem import Refusals, in_order
from cbs.platform.service import Service
from tests.serving import Served

GRANTED, WHO = "granted", "tara"

W = TypeVar("W")
A = TypeVar("A", bound="Asked")


Ask = Callable[[], Awaitable[Any]]
# Sends the request itself, once all is prepared; the second says what is an answer to keep to.
Send = Callable[[Ask, Callable[[Any], bool]], Awaitable[Any]]


async def send_once(ask: Ask, _is_answer: Callable[[Any], bool]) -> Any:
    return await ask()


@dataclass(kw_only=True)
class Asked:
    """How a request comes in. All is well unless a rule says otherwise."""

    send: Send = send_once

    crowded: bool = False
    signed_in: bool = True
    permitted: bool = True
    well_formed: bool = True
    key_used: bool = False
    too_late: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    refusal: type[Refusal]
    change: dict[str, Any]

    def __str__(self) -> str:
        changed = ", ".join(f"{name}={value}" for name, value in self.change.items())
        return f"{self.refusal.code} ({changed})"


def rule(refusal: type[Refusal], **change: Any) -> Rule:
    return Rule(refusal, change)


CROWDED, STRANGER = rule(Busy, crowded=True), rule(NotSignedIn, signed_in=False)
UNPERMITTED, UNREADABLE = rule(NotPermitted, permitted=False), rule(Malformed, well_formed=False)
ALWAYS = (CROWDED, STRANGER, UNPERMITTED, UNREADABLE)
USED_KEY = rule(KeyReused, key_used=True)
LATE = rule(Unavailable, too_late=True)


def pairs(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Every two rules that one request can deserve, the earlier first."""
    for place, first in enumerate(rules):
        for second in rules[place + 1 :]:
            if not first.change.keys() & second.change.keys():
                yield first, second


def neighbours(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Of those only each rule's next one: enough to tell an order from any other."""
    found: dict[int, tuple[Rule, Rule]] = {}
    for first, second in pairs(rules):
        found.setdefault(id(first), (first, second))
    yield from found.values()


@dataclass(frozen=True)
class Operation(Generic[W, A]):
    """`ask` makes the request in a world, and tells the code of the refusal, or GRANTED."""

    rules: Sequence[Rule]
    good: type[A]
    ask: Callable[[W, A], Awaitable[str]]

    async def prove(self, world: W) -> None:
        """A good request is granted; each rule refuses alone, and before the one that follows."""
        wanted = [("nothing", GRANTED, dict[str, Any]())]
        wanted += [(str(each), each.refusal.code, each.change) for each in (*self.rules, LATE)]
        wanted += [
            (f"{first} and {second}", first.refusal.code, first.change | second.change)
            for first, second in neighbours(self.rules)
        ]
        wrong = []
        for deserved, code, change in wanted:
            said = await self.ask(world, self.good(**change))
            if said != code:
                wrong.append(f"{deserved}: {said}")
        assert not wrong, "\n".join(wrong)


RuleBook = dict[str, Operation[Any, Any]]


def documented(service: Service) -> dict[str, list[str]]:
    """What the service's contracts say: of HTTP by the operation's id, of the bus by subject."""
    found = {str(handler.operation_id): _order(handler) for handler, _ in _handlers(service)}
    document = asyncapi(
        service=service.name, facts=service.facts, endpoints=service.endpoints(), version=""
    )
    for verb, operation in document["operations"].items():
        if X_REFUSALS in operation:
            found[f"cbs.{service.name}.{verb}"] = operation[X_REFUSALS]
    return found


def ruled(book: RuleBook) -> dict[str, list[str]]:
    return {name: in_order(*(each.refusal for each in book[name].rules)) for name in book}


def _order(handler: HTTPRouteHandler) -> list[str]:
    assert isinstance(handler.responses, Refusals), handler.operation_id
    return handler.responses.order


def _handlers(service: Service) -> Iterator[tuple[HTTPRouteHandler, str]]:
    """Those that the OpenAPI shows, and their paths."""
    for route in service.app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if handler.resolve_include_in_schema() and route.path.startswith("/v1/"):
                yield handler, route.path_format


async def replay_nothing(served: Served, key: str) -> None:
    """Every service keeps the answer under the key, and does nothing."""
    async with served.client(WHO, "operations.replay") as client:
        path = f"/v1/{served.service.name}/dead-letters/nobody/1/replay"
        answer = await client.post(path, headers={"Idempotency-Key": key})
    assert answer.status_code == 404, answer.text


async def over_http(
    served: Served,
    operation: str,
    asked: Asked,
    *,
    path: Mapping[str, object] | None = None,
    query: Mapping[str, str] | None = None,
    body: dict[str, Any] | None = None,
    permissions: Sequence[str] = (),
    use_key: Callable[[Served, str], Awaitable[None]] = replay_nothing,
) -> str:
    """Ask it; `permissions` are those that the handler itself looks for.

    `use_key` makes another request under the key, one that is kept.
    """
    handler, template = next(
        each for each in _handlers(served.service) if each[0].operation_id == operation
    )
    needed = [handler.opt[PERMISSION]] if PERMISSION in handler.opt else []
    held = [*needed, *permissions] if asked.permitted else ["nothing"]
    query = dict(query or {})
    if not asked.well_formed:
        if body is None:
            query["nonsense"] = "1"
        else:
            body = {**body, "nonsense": 1}
    key = uuid4().hex
    if asked.key_used:
        await use_key(served, key)
    async with served.client(WHO, *held) as client:
        if not asked.signed_in:
            del client.headers["Authorization"]
        with _circumstances(served.service, asked):
            (method,) = handler.http_methods
            answer = await asked.send(
                lambda: client.request(
                    method,
                    template.format(**(path or {})),
                    params=query,
                    json=body,
                    headers={"Idempotency-Key": key} if method != "GET" else {},
                ),
                lambda answer: answer.status_code < 500,
            )
    if answer.status_code < 400:
        return GRANTED
    return str(answer.json()["type"]).removeprefix("urn:cbs:")


async def on_the_bus(
    served: Served,
    verb: str,
    asked: Asked,
    data: object,
    *,
    key: str = "",
    permissions: Sequence[str] = ("internal",),
) -> str:
    """Ask it as another service does."""
    key = key or uuid4().hex
    if asked.key_used:
        await replay_nothing(served, key)
    token = served.signer.token(WHO, *permissions if asked.permitted else ["nothing"])
    call = Call(
        token=token if asked.signed_in else "",
        milliseconds_left=0 if asked.too_late else int(1000 * CALL_SECONDS_MAX),
        data=msgspec.Raw(encode(data if asked.well_formed else "nonsense")),
        key=key,
    )
    client = served.service.runtime.bus._client
    subject = f"cbs.{served.service.name}.{verb}"
    with _circumstances(served.service, asked):
        answer = await asked.send(
            lambda: client.request(subject, encode(call), timeout=CALL_SECONDS_MAX),
            lambda answer: _refused(answer) != Unavailable.code,
        )
    return _refused(answer) or GRANTED


def _refused(answer: Any) -> str:
    refused = reply_decoder(Any).decode(answer.data).refused
    return refused.code if refused else ""


@contextmanager
def _circumstances(service: Service, asked: Asked) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if asked.crowded:
            patch.setattr(service.admission, "in_flight", admission.IN_FLIGHT_MAX)
            patch.setattr(service.admission, "held", admission.HELD_MAX)
            patch.setattr(bus, "IN_FLIGHT_MAX", 0)
        if asked.too_late:
            patch.setattr(admission, "REQUEST_SECONDS_MAX", 0.0)
        yield
