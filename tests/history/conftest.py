"""A bank in this process: its real services behind one port, and a folder that says it is up."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from cbs.accounts import main as accounts_main
from cbs.accounts import service as accounts_connections
from cbs.customers import main as customers_main
from cbs.customers import service as customers_connections
from cbs.customers.main import CustomersSettings
from cbs.ledger import main as ledger_main
from cbs.ledger import service as ledger_connections
from cbs.payments import main as payments_main
from cbs.payments import service as payments_connections
from cbs.platform.settings import Settings
from cbs.tools.local import state
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.process import started
from cbs.tools.local.tokens import users
from tests.conftest import Database
from tests.serving import described, serving
from tests.signing import Signer

# What the services say meanwhile is no part of what a command prints.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

MODULES: dict[str, tuple[Any, type[Settings], Any]] = {
    "customers": (customers_connections.DECLARATION, CustomersSettings, customers_main.build),
    "ledger": (ledger_connections.DECLARATION, Settings, ledger_main.build),
    "accounts": (accounts_connections.DECLARATION, Settings, accounts_main.build),
    "payments": (payments_connections.DECLARATION, Settings, payments_main.build),
}


@dataclass(frozen=True)
class Bank:
    folder: Folder
    services: dict[str, Any]

    async def count(self, service: str, table: str) -> int:
        database = self.services[service].runtime.postgres
        return int((await database.fetchrow(f"SELECT count(*) FROM {table}"))["count"])


@asynccontextmanager
async def listening(edges: dict[str, Any]) -> AsyncIterator[int]:
    """The services behind one port, each under its path, as the edge has them."""

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        await edges[scope["path"].split("/")[2]](scope, receive, send)

    config = uvicorn.Config(routed, port=0, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown()


def said_to_be_up(root: Path, signer: Signer, port: int) -> Folder:
    """A folder as `cbs up` leaves it, with the tokens of the bank's users."""
    folder = Folder.at(root)
    for user, permissions in users().items():
        write_whole(folder.token(user), signer.token(user, *permissions))
    folder["run"]
    running = state.BankState(
        pid=os.getpid(),
        identity=started(os.getpid()) or "",
        phase="ready",
        since=time.time(),
        edge_url=f"http://127.0.0.1:{port}",
    )
    state.write(folder.state, running)
    return folder


@pytest.fixture
async def bank(
    database: Callable[[str], Database], nats_url: str, tmp_path: Path
) -> AsyncIterator[Bank]:
    signer = Signer()
    vault_key = tmp_path / "vault.key"
    vault_key.write_text(secrets.token_hex(32))
    services = {}
    async with AsyncExitStack() as stack:
        for name, (connections, settings, build) in MODULES.items():
            service = described(
                connections,
                settings,
                build,
                database=database(name),
                nats_url=nats_url,
                folder=tmp_path,
                signer=signer,
                **({"vault_key_file": vault_key} if name == "customers" else {}),
            )
            await stack.enter_async_context(serving(service, signer))
            services[name] = service
        edges = {name: service.admission for name, service in services.items()}
        port = await stack.enter_async_context(listening(edges))
        yield Bank(said_to_be_up(tmp_path / "bank", signer, port), services)
