"""A provider is verified as it runs: what a pact asks is asked of it, over HTTP, NATS and facts."""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import nats.errors

os.environ["PACT_DO_NOT_TRACK"] = "true"  # read when pact is imported

from pact import Verifier
from pact.types import Message

from cbs.tools.release.provider_verification.report import Heard, InteractionOutcome, Verified
from cbs.tools.release.provider_verification.states import bring_about
from cbs.tools.release.provider_verification.world import BankUnderTest, NotAsAsked

REQUEST_MILLISECONDS_MAX = 20_000
# How long its server may take to hear that it is done; http.server looks twice a second.
STOP_SECONDS = 0.02
OWN_TOKEN = re.compile(r"^the token of (\w+)$")
CALLER = "the caller's own token"
ASYNC, HTTP = "Asynchronous/Messages", "Synchronous/HTTP"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# What a provider that is not as it should be does to a question: no answer, or another than asked.
NOT_GIVEN = (
    AssertionError,
    LookupError,
    OSError,
    TypeError,
    ValueError,  # msgspec's, too
    asyncpg.PostgresError,
    nats.errors.Error,
)


class NothingToVerify(Exception):
    """A pact without interactions: a verification of it would say yes to anything."""


def provider_of(pact: Path) -> str:
    return str(json.loads(pact.read_text())["provider"]["name"])


def verify(world: BankUnderTest, pact: Path) -> Verified:
    """Raises NothingToVerify."""
    document = json.loads(pact.read_text())
    consumer, provider = document["consumer"]["name"], document["provider"]["name"]
    interactions = {each["description"]: each for each in document["interactions"]}
    if not interactions:
        raise NothingToVerify(f"the pact of {consumer} with {provider} has no interactions")
    provided = _Provider(world, consumer, provider, interactions)
    with provided.states() as states_url:
        verifier = (
            Verifier(provider, host="127.0.0.1")
            .add_transport(url=world.url_for(consumer, provider))
            .message_handler(provided.message)
            .state_handler(states_url, body=True)
            .set_request_timeout(REQUEST_MILLISECONDS_MAX)
            .set_coloured_output(enabled=False)
            .set_error_on_empty_pact(enabled=True)
            .add_source(pact)
        )
        if any(_signed_in(each) for each in interactions.values()):
            verifier.add_custom_header("Authorization", f"Bearer {world.token()}")
        with suppress(RuntimeError):  # what did not hold is in the results
            verifier.verify()
        results = verifier.results
    outcomes = _outcomes(results, interactions, provided)
    assert len(outcomes) == len(interactions), (len(outcomes), len(interactions))
    return Verified(
        consumer=consumer, provider=provider, outcomes=outcomes, messages=provided.heard
    )


def _signed_in(interaction: Mapping[str, Any]) -> bool:
    return "Authorization" in interaction.get("request", {}).get("headers", {})


def _outcomes(
    results: Mapping[str, Any],
    interactions: Mapping[str, Mapping[str, Any]],
    provided: "_Provider",
) -> list[InteractionOutcome]:
    why: dict[str, list[str]] = {}
    for error in [*results["errors"], *results["pendingErrors"]]:
        told = error["interaction"]
        description = next((d for d in interactions if told.endswith(f" - {d}")), "")
        told_by_us = provided.failures.get(description)
        said = [told_by_us] if told_by_us else _said(error)
        why.setdefault(description, []).extend(said)
    return [
        InteractionOutcome(
            description=each["description"],
            held=each["result"] == "OK",
            pending=bool(interactions[each["description"]].get("pending")),
            unready=each["description"] in provided.unready,
            why=[] if each["result"] == "OK" else why.get(each["description"], ["it failed"]),
        )
        for each in results["interactionResults"]
    ]


def _said(error: Mapping[str, Any]) -> list[str]:
    """The mismatches of one interaction, a sentence each."""
    found = error.get("mismatch", {})
    said = []
    for each in found.get("mismatches", []) if isinstance(found, Mapping) else []:
        place = each.get("path") or each.get("key") or each.get("type", "")
        said.append(ANSI.sub("", f"{place}: {each.get('mismatch', each)}"))
    return said or [ANSI.sub("", json.dumps(found))[:500]]


@dataclass(slots=True)
class _Provider:
    """Answers pact's verifier for a provider that it cannot ask by itself: states and messages."""

    world: BankUnderTest
    consumer: str
    provider: str
    interactions: Mapping[str, Mapping[str, Any]]
    values: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    before: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    unready: set[str] = field(default_factory=set)

    @contextmanager
    def states(self) -> Iterator[str]:
        """pact-python's own state handler gives the verifier no values back; so this does."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = provider.bring_about(asked["state"], asked.get("params") or {})
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(STOP_SECONDS,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/states"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def bring_about(self, name: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        try:
            if name:
                self.before = self.world.sequence(self.provider)
                self.made = bring_about(self.world, self.provider, name, params)
                self.values |= self.made
        except NOT_GIVEN as error:
            why = f"the state {name!r} could not be brought about: {error}"
            if not isinstance(error, NotAsAsked):
                why += f" ({type(error).__name__})"
            for description, each in self.interactions.items():
                if any(s["name"] == name for s in each.get("providerStates", [])):
                    self.failures.setdefault(description, why)
                    self.unready.add(description)
            # Not 500: the verifier tries that again for half a minute.
            return 400, json.dumps({"error": why}).encode()
        return 200, json.dumps(self.values).encode()

    def message(self, name: str, metadata: Any) -> Message:
        interaction = self.interactions[name]
        try:
            contents, said = self._message(interaction)
        except NOT_GIVEN as error:
            # No error to the verifier, which would try again: an answer that holds nothing.
            self.failures[name] = f"{type(error).__name__}: {error}"
            contents, said = b"null", {}
        return Message(contents=contents, metadata=said, content_type="application/json")

    def _message(self, interaction: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
        if interaction["type"] == ASYNC:
            subject = interaction["metadata"]["subject"]
            made = [str(each) for each in self.made.values()]
            body = self.world.fact(subject, after=self.before, about=made)
            self.heard.append(Heard(subject=subject, is_fact=True, body=body.decode()))
            return body, {"subject": subject}
        request = interaction["request"]
        body = _filled(request["contents"]["content"], request.get("generators", {}), self.values)
        body["token"] = self._token(body["token"])
        payload = msgspec.json.encode(body)
        subject = request["metadata"]["subject"]
        reply = self.world.request(self.consumer, subject, payload)
        self.heard.append(Heard(subject=subject, is_fact=False, body=reply.decode()))
        return reply, {}

    def _token(self, stands: str) -> str:
        if stands == CALLER:
            return self.world.token()
        own = OWN_TOKEN.match(stands)
        assert own, stands
        return self.world.service_token(own[1])


def _filled(body: Any, generators: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """The request with what the state made in the places that the pact names."""
    filled = json.loads(json.dumps(body))
    for place, generator in generators.get("body", {}).items():
        text = generator["expression"]
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", str(value))
        *way, last = re.findall(r"[\w-]+", place.removeprefix("$"))
        at = filled
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = text
    return filled
