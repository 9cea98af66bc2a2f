import os
import secrets as random
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from cbs.bank import SERVICES
from cbs.customers import main as customers
from cbs.gateway import places
from cbs.gateway.envoy import bootstrap, command
from cbs.tools.local import databases, health, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import with_database
from cbs.tools.local.process import mortal, running

assert customers  # run as a process of its own below
SERVICE = "customers"


@dataclass(frozen=True, slots=True)
class Place:
    """A real service process, and the real Envoy before it, on ports of their own."""

    folder: Folder
    service_port: int
    edge_port: int
    database_url: str
    token: str

    def port(self, way: str) -> int:
        return self.edge_port if way == "through Envoy" else self.service_port

    def rows(self) -> dict[str, int]:
        """How many there are in each table, but for the keys: they keep business refusals, too, and
        it is told."""
        return databases.in_own_loop(self._rows)

    async def _rows(self) -> dict[str, int]:
        connection = await asyncpg.connect(self.database_url)
        try:
            tables = await connection.fetch(
                "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables"
                " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
            )
            count = "SELECT count(*) FROM {}"
            facts = f"{count} WHERE subject NOT LIKE '%.request-answered'"
            return {
                row["name"]: await connection.fetchval(
                    (facts if row["name"].endswith(".outbox") else count).format(row["name"])
                )
                for row in tables
                if not row["name"].endswith(".request")
            }
        finally:
            await connection.close()

    @property
    def log(self) -> str:
        return self.folder.log(SERVICE).read_text()


@pytest.fixture(scope="session")
def place(postgres_server, template, nats_server, tmp_path_factory) -> Iterator[Place]:
    folder = Folder.at(tmp_path_factory.mktemp("fuzz") / "data")
    folder.found()
    secrets.make_all(folder)
    ports, name = folder.claim_ports(), f"fuzz_{random.token_hex(6)}"
    source = template(SERVICE)
    databases.in_own_loop(
        lambda: databases.make_database(postgres_server, SERVICE, name=name, template=source)
    )
    runtime = with_database(postgres_server, name, databases.runtime_of(SERVICE))
    environment = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CBS_HTTP_PORT": str(ports[SERVICE]),
        "CBS_POSTGRES_URL": runtime,
        "CBS_NATS_URL": next(nats_server),
        "CBS_REGISTRY_FOLDER": str(folder["registry"]),
        **secrets.files_of(folder, SERVICE, nkey=False),
    }
    for each in SERVICES:
        places.write_endpoints(folder["edge"], each, [])
    argv = [sys.executable, "-P", "-m", f"cbs.{SERVICE}.main", "serve"]
    try:
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as patch:
                for key, value in environment.items():
                    patch.setenv(key, value)
                service = running(
                    mortal(argv, death=signal.SIGTERM),
                    log=folder.log(SERVICE),
                    is_ready=lambda: health.readiness(ports[SERVICE])[0],
                )
                stack.enter_context(service)
            stack.enter_context(envoy(folder, ports))
            token = folder.token("importer").read_text().strip()
            admin_url = with_database(postgres_server, name)
            yield Place(folder, ports[SERVICE], ports["edge"], admin_url, token)
    finally:
        folder.release_ports()
        databases.in_own_loop(lambda: databases.drop_database(postgres_server, name))


def envoy(folder: Folder, ports: dict[str, int]):
    found = places.endpoints(folder["registry"], SERVICE) or [
        places.Place("127.0.0.1", ports[SERVICE])
    ]
    places.write_endpoints(folder["edge"], SERVICE, found)
    conf: Path = folder["edge"] / "envoy.json"
    conf.write_text(
        bootstrap(
            edge=folder["edge"],
            port=ports["edge"],
            admin_port=ports["edge-admin"],
            jwks=folder.jwks,
        )
    )
    return running(
        command(conf),
        log=folder.log("edge"),
        is_ready=lambda: health.routes_to(ports["edge-admin"]) == {SERVICE},
    )
