"""A service in this process: its real app, on real PostgreSQL and NATS, without a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cbs.platform.declaration import Declaration
from cbs.platform.process import started
from cbs.platform.service import Build, Runtime, S, Service, service_of
from tests.conftest import Database
from tests.signing import Signer


@dataclass(frozen=True)
class Served:
    service: Service
    signer: Signer

    def client(self, subject: str, *permissions: str) -> httpx.AsyncClient:
        """Somebody who asks over HTTP; each change of theirs gets a key unless it has one."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.service.edge, raise_app_exceptions=False),
            base_url="http://bank",
            headers={"Authorization": f"Bearer {self.signer.token(subject, *permissions)}"},
            event_hooks={"request": [_give_key]},
        )
        return client


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
