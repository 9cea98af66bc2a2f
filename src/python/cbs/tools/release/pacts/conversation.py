"""What one party reads of another: its own client code works on the example, then it is a pact."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["PACT_DO_NOT_TRACK"] = "true"  # read when pact is imported

from pact import Pact, match

from cbs.kernel.event import Event
from cbs.kernel.principal import Kind, Principal
from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus
from cbs.platform.context import Context, within
from cbs.platform.outbox import CloudEvent
from cbs.tools.release.gate.unshown import READS
from cbs.tools.release.pacts.reading import example_of, known_values, unread, wrong

JSON = "application/json"
PROBLEM = "application/problem+json"
CALLER = "the caller's own token"
INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$"
SOMEBODY = Principal(id="tilda", kind=Kind.USER, permissions=frozenset())
SOME_ID, CORRELATION = "01900000-0000-7000-8000-000000000001", "0123456789abcdef"


def some_id(value: str = SOME_ID) -> Any:
    return match.uuid(value)


def instant() -> Any:
    return match.regex("2026-01-05T04:00:00Z", regex=INSTANT)


def day() -> Any:
    return match.regex("2026-01-05", regex=r"^\d{4}-\d{2}-\d{2}$")


def some_of(item: Any) -> Any:
    """A list of one at least: without `min` the verifier is content with an empty one."""
    return match.each_like(item, min=1)


def own_token(service: str) -> str:
    """What stands in a pact for the token of a service's own; its verifier puts the real one in."""
    return f"the token of {service}"


@dataclass(frozen=True, slots=True)
class State:
    """What must be true at the provider. `makes`: what only the provider can name (an id), with
    the example that stands for it in the request; the state's own value takes its place."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    makes: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Wire:
    """The bus of one question: keeps what was asked, and answers as the pact says."""

    reply: bytes
    subject: str = ""
    asked: dict[str, Any] = field(default_factory=dict)

    async def request(self, subject: str, payload: bytes, **_: float) -> SimpleNamespace:
        assert not self.subject, "one question at a time"
        self.subject, self.asked = subject, json.loads(payload)
        self.asked.pop("traceparent", None)
        self.asked["milliseconds_left"] = 5000
        return SimpleNamespace(data=self.reply)


@dataclass(slots=True)
class _ReadingBus(Bus):
    """Notes what type an answer is read into."""

    read_into: Any = None

    async def call(
        self, operation: str, data: object, gives: Any, *, key: str = "", own: bool = False
    ) -> Any:
        self.read_into = gives
        # Not super(): a dataclass with slots is another class than the one that it closes over.
        return await Bus.call(self, operation, data, gives, key=key, own=own)


@dataclass(slots=True)
class Conversation:
    """All that `consumer` reads of `provider`; written only after its own code worked on it."""

    consumer: str
    provider: str
    pact: Pact = field(init=False)
    _descriptions: set[str] = field(default_factory=set)
    _hearers: dict[str, Callable[[bytes], Awaitable[object]]] = field(default_factory=dict)
    _askers: list[Callable[[str], Awaitable[object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pact = Pact(self.consumer, self.provider).with_specification("V4")

    # --- the bus ---------------------------------------------------------------------------------

    def asks(
        self,
        description: str,
        work: Callable[[Bus], Awaitable[object]],
        *,
        data: Any = None,
        refused: Mapping[str, Any] | None = None,
        given: Sequence[State] = (),
    ) -> None:
        """`work` is the consumer's own client code; `data` (with matchers) answers it, or a no.

        Raises AssertionError where the example has a field that the client does not read, or lacks
        one that it does, or has money by its type alone.
        """
        reply = {"data": data} if refused is None else {"refused": refused}
        wire = _Wire(json.dumps(example_of(reply)).encode())
        bus = _ReadingBus(
            service=self.consumer,
            tokens=Tokens(keys={}),
            own_token=own_token(self.consumer),
            _client=wire,  # type: ignore[arg-type]
        )
        asyncio.run(_asked(work, bus))
        if refused is None:
            assert not (found := wrong(data, bus.read_into)), (description, found)
        interaction = self._new(description, "Sync", given)
        interaction.set_comment(READS, known_values(example_of(data), bus.read_into))
        interaction.with_body(wire.asked, JSON).with_metadata({"subject": wire.subject})
        if generators := _in_body(wire.asked, given):
            interaction.with_generators(json.dumps({"body": generators}), "Request")
        interaction.will_respond_with().with_body(reply, JSON)

    def hears(
        self,
        fact: type[Event] | str,
        digest: Callable[[bytes], Awaitable[object]],
        *,
        data: Any,
        reads: Any,
        given: Sequence[State],
    ) -> None:
        """`digest` is the consumer's own, given the bytes of a CloudEvent; `reads` is what of its
        data it decodes (None: nothing, `data` is then empty)."""
        name = fact if isinstance(fact, str) else fact.fact
        if reads is not None:
            assert not (found := wrong(data, reads)), (name, found)
        subject = f"cbs.{self.provider}.events.{name}"
        event = {
            "specversion": "1.0",
            "id": some_id(),
            "source": f"/cbs/{self.provider}",
            "type": f"cbs.{self.provider}.{name}",
            "subject": match.type("something"),
            "time": instant(),
            "datacontenttype": JSON,
            "actor": match.type("somebody"),
            "correlationid": match.type(CORRELATION),
            "position": match.regex("7", regex=r"^[1-9]\d*$"),
            "data": data,
        }
        assert not unread(example_of(event), CloudEvent)
        interaction = self._new(f"the fact {name}", "Async", given)
        interaction.set_comment(READS, known_values(example_of(data), reads, "$.data"))
        interaction.with_body(event, JSON).with_metadata({"subject": subject})
        self._hearers[subject] = digest

    # --- HTTP ------------------------------------------------------------------------------------

    def requests(
        self,
        description: str,
        work: Callable[[str], Awaitable[object]],
        *,
        request: tuple[str, str],
        body: Any = None,
        query: Mapping[str, str] | None = None,
        key: str = "",
        signed_in: bool = True,
        status: int = 200,
        reply: Any,
        reads: Any,
        media_type: str = JSON,
        given: Sequence[State] = (),
    ) -> None:
        """`work` is the consumer's own client code, given the provider's address. `request` is
        method and path; a change has the `key` under which it is asked for."""
        if reads is not None:
            assert not (found := wrong(reply, reads)), (description, found)
        method, path = request
        interaction = self._new(description, "HTTP", given)
        interaction.set_comment(READS, known_values(example_of(reply), reads))
        interaction.with_request(method, _path_matcher(path, given))
        generators: dict[str, Any] = {}
        if (expression := _with_names(path, given)) != path:
            generators["path"] = _generator(expression)
        if query:
            interaction.with_query_parameters(dict(query))
        if signed_in:
            interaction.with_header(
                "Authorization", match.regex("Bearer token", regex="^Bearer .+$")
            )
        if key:
            interaction.with_header("Idempotency-Key", match.regex(key, regex=r"^[\w.-]{8,64}$"))
        if body is not None:
            interaction.with_body(body, JSON)
            if in_body := _in_body(example_of(body), given):
                generators["body"] = in_body
        if generators:
            interaction.with_generators(json.dumps(generators), "Request")
        interaction.will_respond_with(status)
        interaction.with_body(reply, media_type)
        self._askers.append(work)

    # --- the pact --------------------------------------------------------------------------------

    def _new(self, description: str, kind: Any, given: Sequence[State]) -> Any:
        assert description not in self._descriptions, f"said twice: {description}"
        self._descriptions.add(description)
        interaction = self.pact.upon_receiving(description, kind)
        for state in given:
            params = {**state.params, **{name: value for name, value in state.makes.items()}}
            interaction.given(state.name, **params) if params else interaction.given(state.name)
        return interaction

    def write(self, folder: Path) -> Path:
        """Have the client code work on all that was said, then write `consumer-provider.json`."""
        if self._hearers:
            self.pact.verify(self._hear, kind="Async")
        if self._askers:
            with self.pact.serve() as server:
                for work in self._askers:
                    asyncio.run(_within(work, str(server.url)))
        self.pact.write_file(folder, overwrite=True)
        return folder / f"{self.consumer}-{self.provider}.json"

    def _hear(self, body: Any, metadata: dict[str, object]) -> None:
        asyncio.run(_within(self._hearers[str(metadata["subject"])], str(body).encode()))


async def _asked(work: Callable[[Bus], Awaitable[object]], bus: Bus) -> None:
    context = Context(principal=SOMEBODY, token=CALLER, correlation_id=CORRELATION)
    with within(context):
        await work(bus)


async def _within(work: Callable[[Any], Awaitable[object]], what: object) -> None:
    await work(what)


def _names(given: Sequence[State]) -> dict[str, str]:
    return {example: name for state in given for name, example in state.makes.items()}


def _with_names(text: str, given: Sequence[State]) -> str:
    for example, name in _names(given).items():
        text = text.replace(example, f"${{{name}}}")
    return text


def _path_matcher(path: str, given: Sequence[State]) -> Any:
    pattern = re.escape(path)
    for example in _names(given):
        pattern = pattern.replace(re.escape(example), "[^/]+")
    return path if pattern == re.escape(path) else match.regex(path, regex=f"^{pattern}$")


def _generator(expression: str) -> dict[str, str]:
    return {"type": "ProviderState", "expression": expression}


def _in_body(body: Any, given: Sequence[State], place: str = "$") -> dict[str, Any]:
    """Where in the body stands what the provider's state makes."""
    if isinstance(body, Mapping):
        parts = [_in_body(each, given, f"{place}.{name}") for name, each in body.items()]
    elif isinstance(body, list):
        parts = [_in_body(each, given, f"{place}[{n}]") for n, each in enumerate(body)]
    elif isinstance(body, str) and (expression := _with_names(body, given)) != body:
        return {place: _generator(expression)}
    else:
        return {}
    return {place: found for part in parts for place, found in part.items()}
