"""What the edge and a watcher read of a service: that it is ready, and that it asks who comes."""

import asyncio
from urllib.parse import urlsplit

import httpx
import msgspec
from pact import match

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.local.health import readiness
from cbs.tools.release.pacts.conversation import PROBLEM, Conversation


class Readiness(msgspec.Struct):
    status: str


class Problem(msgspec.Struct):
    type: str
    status: int


def conversations() -> list[Conversation]:
    made = []
    for service in SERVICES:
        conversation = Conversation("gateway", service)
        conversation.requests(
            "is it ready",
            _ready,
            request=("GET", "/health/ready"),
            signed_in=False,
            reply={"status": "ready"},
            reads=Readiness,
        )
        path = declaration_of(service).entrance
        conversation.requests(
            "a request without a token",
            lambda url, path=path: _without_token(url, path),  # type: ignore[misc]
            request=("GET", path),
            signed_in=False,
            status=401,
            reply={"type": "urn:cbs:not-signed-in", "status": match.int(401)},
            reads=Problem,
            media_type=PROBLEM,
        )
        made.append(conversation)
    return made


async def _ready(url: str) -> None:
    port = urlsplit(url).port
    assert port is not None
    is_ready, said = await asyncio.to_thread(readiness, port)
    assert is_ready
    assert said["status"] == "ready"


async def _without_token(url: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.get(path)
    assert answer.status_code == 401
    assert msgspec.json.decode(answer.content, type=Problem).type == "urn:cbs:not-signed-in"
