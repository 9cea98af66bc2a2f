"""Consul's last answer holds until there is a better one; Consul being away is not an answer.

Blocking queries after https://developer.hashicorp.com/consul/api-docs/features/blocking.
Reads may be stale, by a bound. No answer is: an error, a server that knows no leader, a list that
lost what the token may not see (an ACL gone wrong would read as "nobody is there"), and, just after
Consul was away, an empty list where there was none before: an agent that restarts holds every
check for failing until it has tried it once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec
import structlog

from cbs.platform.registry import Instance

WAIT_SECONDS, ANSWER_SECONDS_MAX = 30, 40
STALE_MILLISECONDS_MAX = 5_000
SETTLE_SECONDS = 30.0
ANSWER_BYTES_MAX = 4 << 20
PACE_SECONDS, PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 0.1, 1.5

log = structlog.get_logger()
T = TypeVar("T")


class NoAnswer(Exception):
    """Consul said nothing that may be believed; the message says what instead."""


class _Place(msgspec.Struct, rename="pascal"):
    address: str = ""


class _Service(msgspec.Struct, rename="pascal"):
    port: int
    id: str = msgspec.field(name="ID")
    address: str = ""
    meta: dict[str, str] | None = None


class _Entry(msgspec.Struct, rename="pascal"):
    service: _Service
    node: _Place


class Certificate(msgspec.Struct, frozen=True):
    """Of the mesh, in PEM; `uri` is who has it (SPIFFE)."""

    chain: str = msgspec.field(name="CertPEM")
    key: str = msgspec.field(name="PrivateKeyPEM")
    uri: str = msgspec.field(name="ServiceURI")


class _Root(msgspec.Struct, rename="pascal"):
    root_cert: str


class _Roots(msgspec.Struct, rename="pascal"):
    roots: list[_Root]


@dataclass(frozen=True, slots=True)
class Answer:
    index: int
    body: bytes | None


def next_index(asked: int, told: int) -> int:
    """What to ask with next: from the start where the index went back, and never 0 for long."""
    return 0 if told < asked else max(told, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consul:
    """The port's cluster side. The token's file is read for each question, so it may change."""

    http: httpx.AsyncClient
    token_file: Path | None = None
    settle_seconds: float = SETTLE_SECONDS

    @classmethod
    def at(cls, url: str, token_file: Path | None = None) -> "Consul":
        times = httpx.Timeout(ANSWER_SECONDS_MAX, connect=2)
        return cls(
            http=httpx.AsyncClient(base_url=url, timeout=times, trust_env=False),
            token_file=token_file,
        )

    async def follow(self, service: str) -> AsyncIterator[list[Instance]]:
        """The passing instances of `cbs-<service>`."""
        path = f"/v1/health/service/cbs-{quote(service)}"

        def read(body: bytes | None) -> list[Instance]:
            entries = msgspec.json.decode(body or b"[]", type=list[_Entry])
            return sorted((_instance(service, each) for each in entries), key=lambda i: i.instance)

        async for found in self._news(path, {"passing": "true"}, read):
            yield found

    async def follow_value(self, key: str) -> AsyncIterator[str | None]:
        """The text at a key, None where there is none."""
        path = f"/v1/kv/{quote(key)}"
        async for found in self._news(path, {"raw": "true"}, _text):
            yield found

    async def follow_certificate(self, name: str) -> AsyncIterator[Certificate]:
        """That of the mesh's service of that name, anew before it runs out."""

        def read(body: bytes | None) -> Certificate:
            return msgspec.json.decode(body or b"", type=Certificate)

        async for found in self._news(f"/v1/agent/connect/ca/leaf/{quote(name)}", {}, read):
            yield found

    async def follow_roots(self) -> AsyncIterator[str]:
        """In PEM, whom the mesh's certificates come from; while they change, old and new."""

        def read(body: bytes | None) -> str:
            said = msgspec.json.decode(body or b"", type=_Roots)
            return "".join(each.root_cert.rstrip() + "\n" for each in said.roots)

        async for found in self._news("/v1/agent/connect/ca/roots", {}, read):
            yield found

    async def _news(
        self, path: str, query: Mapping[str, str], read: Callable[[bytes | None], T]
    ) -> AsyncIterator[T]:
        loop = asyncio.get_running_loop()
        index, failures, settled_at = 0, 0, 0.0
        told: list[T] = []
        while True:
            wait = min(WAIT_SECONDS, max(settled_at - loop.time(), 0) or WAIT_SECONDS)
            try:
                answer = await self._ask(path, query, index, wait)
                found = read(answer.body)
            except (NoAnswer, msgspec.DecodeError, UnicodeDecodeError) as error:
                if not failures:
                    log.warning("consul-away", path=path, error=str(error))
                # Whoever answers next may be another server, or the same with another memory.
                index, failures = 0, failures + 1
                pause = min(PAUSE_SECONDS * 2 ** min(failures, 10), PAUSE_SECONDS_MAX)
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                continue
            if failures:
                log.info("consul-back", path=path)
                failures = 0
                if told and told[0]:
                    settled_at = loop.time() + self.settle_seconds
            index = next_index(index, answer.index)
            hasty = not found and told and told[0] and loop.time() < settled_at
            if not hasty and told != [found]:
                told = [found]
                yield found
            await asyncio.sleep(PACE_SECONDS)

    async def _ask(self, path: str, query: Mapping[str, str], index: int, wait: float) -> Answer:
        asked = {**query, "index": str(index), "wait": f"{max(int(wait * 1000), 1)}ms"}
        answer, headers = await self._get(path, {**asked, "stale": ""})
        # Consul 1.22 also says "no leader" where a wait merely ran out: ask the leader itself.
        unsure = index > 0 and headers.get("X-Consul-KnownLeader") == "false"
        if unsure or int(headers.get("X-Consul-LastContact", 0)) > STALE_MILLISECONDS_MAX:
            answer, headers = await self._get(path, {**asked, "index": "0"})
        if headers.get("X-Consul-KnownLeader") == "false":
            raise NoAnswer("it knows no leader")
        if headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            raise NoAnswer("the token may not read all of it: look at its policy")
        return answer

    async def _get(self, path: str, query: Mapping[str, str]) -> tuple[Answer, httpx.Headers]:
        """Status 404 with an index says that a key is not there, and is an answer."""
        try:
            headers = self._headers()
            async with self.http.stream("GET", path, params=query, headers=headers) as said:
                if said.status_code not in (200, 404) or "X-Consul-Index" not in said.headers:
                    raise NoAnswer(f"status {said.status_code}")
                body = b""
                async for part in said.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise NoAnswer(f"more than {ANSWER_BYTES_MAX} bytes")
                found = body if said.status_code == 200 else None
                return Answer(int(said.headers["X-Consul-Index"]), found), said.headers
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from None

    def _headers(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        return {"X-Consul-Token": self.token_file.read_text().strip()}


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode()


def _instance(service: str, entry: _Entry) -> Instance:
    meta = entry.service.meta or {}
    return Instance(
        service=service,
        instance=entry.service.id,
        host=entry.service.address or entry.node.address,
        port=entry.service.port,
        version=meta.get("version", ""),
        sha=meta.get("sha", ""),
        canary=meta.get("canary") == "true",
    )
