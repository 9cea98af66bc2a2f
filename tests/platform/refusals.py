"""What every service refuses alike: of its requests by key, its dead letters and its facts."""

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import msgspec

from cbs.platform.context import now
from cbs.platform.operations import NoSuchDeadLetter, NoSuchRequest, StillIndigestible
from cbs.platform.outbox import CloudEvent
from tests.refusals import (
    ALWAYS,
    CROWDED,
    STRANGER,
    UNREADABLE,
    USED_KEY,
    Asked,
    Operation,
    RuleBook,
    on_the_bus,
    over_http,
    replay_nothing,
    rule,
)
from tests.serving import Served

INSERT = "INSERT INTO dead_letter (source, position, body, error, at) VALUES ($1, $2, $3, '', $4)"


@dataclass(kw_only=True)
class AskedOf(Asked):
    known: bool = True


@dataclass(kw_only=True)
class Replay(AskedOf):
    digestible: bool = True


@dataclass
class Listener:
    """Hears a source that no service is, and digests what a test lets it."""

    digestible: bool
    principal: Any
    source: str = "somebody"

    async def handle(self, facts: object) -> None:
        if not self.digestible:
            raise ValueError("cannot be digested")


def fact(source: str, position: int) -> bytes:
    event = CloudEvent(
        specversion="1.0",
        id=uuid4(),
        source=f"/cbs/{source}",
        type=f"cbs.{source}.something-happened",
        subject="it",
        time=now(),
        datacontenttype="application/json",
        actor="somebody",
        correlationid="",
        position=str(position),
        data=msgspec.Raw(b"{}"),
    )
    return msgspec.json.encode(event)


async def request(served: Served, asked: AskedOf) -> str:
    key = uuid4().hex
    if asked.known:
        await replay_nothing(served, key)
    return await over_http(served, f"{served.service.name}.request", asked, path={"key": key})


async def dead_letters(served: Served, asked: Asked) -> str:
    return await over_http(served, f"{served.service.name}.dead-letters", asked)


async def replay(served: Served, asked: Replay) -> str:
    service, position = served.service, uuid4().int % 2**40 + 1
    listener = Listener(asked.digestible, service.runtime.principal)
    if asked.known:
        body = fact(listener.source, position)
        database = service.runtime.postgres
        await database.execute(INSERT, listener.source, position, body, now())
    name, path = f"{service.name}.dead-letters.replay", {"source": listener.source}
    with patch.object(type(service.letters), "consumers", [listener]):
        return await over_http(served, name, asked, path={**path, "position": position})


async def facts(served: Served, asked: Asked) -> str:
    return await on_the_bus(served, "facts", asked, {"position": 0, "limit": 1})


def of_every_service(name: str) -> RuleBook:
    known = (CROWDED, STRANGER, UNREADABLE, rule(NoSuchRequest, known=False))
    replayed = (rule(NoSuchDeadLetter, known=False), rule(StillIndigestible, digestible=False))
    return {
        f"{name}.request": Operation(known, AskedOf, request),
        f"{name}.dead-letters": Operation(ALWAYS, Asked, dead_letters),
        f"{name}.dead-letters.replay": Operation((*ALWAYS, USED_KEY, *replayed), Replay, replay),
        f"cbs.{name}.facts": Operation(ALWAYS, Asked, facts),
    }
