"""A service in this process: its real app, on real PostgreSQL and NATS, without a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from cbs.platform.admission import Admission, Receive, Scope, Send
from cbs.platform.declaration import Declaration
from cbs.platform.problem import Refusals
from cbs.platform.process import started
from cbs.platform.service import Build, Runtime, S, Service, service_of
from tests.conftest import Database
from tests.signing import Signer

# What may come instead of any refusal, and what only a bug or a wrong method is answered with.
ANYWHERE = ("unavailable", "internal-error", "method-not-allowed", "too-large", "not-json")


@dataclass(frozen=True)
class Served:
    service: Service
    signer: Signer

    def client(self, subject: str, *permissions: str) -> httpx.AsyncClient:
        """Somebody who asks over HTTP; each change of theirs gets a key unless it has one."""
        client = httpx.AsyncClient(
            transport=Watched(self.service.admission),
            base_url="http://bank",
            headers={"Authorization": f"Bearer {self.signer.token(subject, *permissions)}"},
            event_hooks={"request": [_give_key]},
        )
        return client


@dataclass(frozen=True)
class Watched(httpx.AsyncBaseTransport):
    """The way to the app, on which no operation refuses what it does not declare."""

    admission: Admission

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            asked.append(scope)
            await self.admission(scope, receive, send)

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        response = await transport.handle_async_request(request)
        handler = asked[0].get("route_handler")
        # Health, and what a test has put there, are no operations of a service.
        operation = None if handler is None else handler.operation_id
        if response.status_code >= 400 and handler is not None and operation is not None:
            assert isinstance(handler.responses, Refusals), request.url
            assert isinstance(response.stream, httpx.AsyncByteStream)
            problem = msgspec.json.decode(b"".join([part async for part in response.stream]))
            code = problem["type"].removeprefix("urn:cbs:")
            assert code in {*handler.responses.order, *ANYWHERE}, f"{request.url}: {code}"
        return response


def handed_to_run(service: str) -> tuple[Declaration, type[Any], Build[Any]]:
    """Declaration, settings and build, as the service's main hands them over."""
    main, handed = import_module(f"cbs.{service}.main"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "run", lambda *parts: handed.append(parts))
        main.main()
    ((declaration, settings_type, build),) = handed
    return declaration, settings_type, build


async def _give_key(request: httpx.Request) -> None:
    if request.method != "GET":
        request.headers.setdefault("Idempotency-Key", uuid4().hex)


def described(
    connections: Declaration,
    settings_type: type[S],
    build: Build[S],
    *,
    database: Database,
    nats_url: str,
    folder: Path,
    signer: Signer,
    **settings: Any,
) -> Service:
    """The service as its process would describe it, nothing connected."""
    token = folder / f"{connections.service}.jwt"
    token.write_text(signer.token(connections.service, "internal", kind="service"))
    values = {
        "postgres_url": database.runtime_url,
        "nats_url": nats_url,
        "jwks_file": signer.jwks(folder),
        "service_token_file": token,
        **settings,
    }
    return service_of(Runtime.of(connections, settings_type(**values)), build)


@asynccontextmanager
async def serving(service: Service, signer: Signer) -> AsyncIterator[Served]:
    """Started as in its process: relay, listeners, bus and tasks included."""
    async with started(service):
        yield Served(service, signer)
