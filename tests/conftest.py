"""Real servers for every test: one of each a session, and in it a place of one's own for each test.

CBS_TEST_POSTGRES_URL (an administrator's) and CBS_TEST_NATS_URL name servers to use instead.
"""

import importlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import nats
import pytest
import structlog

from cbs.bank import SERVICES
from cbs.tools.local import databases, postgres
from cbs.tools.local import nats_server as local_nats
from cbs.tools.local.postgres import with_database

# A traceback with all that the frames hold takes longer to write than most tests.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A migrated database as its owner, its service, an administrator and `cbs verify` enter it."""

    name: str
    owner_url: str
    runtime_url: str
    admin_url: str
    verify_url: str


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The administrator's URL of a PostgreSQL in which every role of the bank exists."""
    named = os.environ.get("CBS_TEST_POSTGRES_URL")
    with nullcontext(named) if named else postgres.throwaway() as url:
        roles = dict.fromkeys(databases.roles_of(SERVICES))
        databases.in_own_loop(lambda: databases.make_roles(url, roles))
        yield url


@pytest.fixture(scope="session")
def template(postgres_server: str) -> Iterator[Callable[[str], str]]:
    """A service's name -> a migrated database to copy, made when first asked for."""
    made: dict[str, str] = {}

    async def make(service: str, name: str) -> None:
        await databases.make_database(postgres_server, service, name=name)
        migrations = importlib.import_module("cbs.platform.migrations")
        owner = databases.owner_of(service)
        await migrations.migrate(service, with_database(postgres_server, name, owner))
        await databases.seal_template(postgres_server, name)

    def of(service: str) -> str:
        if service not in made:
            name = f"template_{service}_{secrets.token_hex(6)}"
            databases.in_own_loop(lambda: make(service, name))
            made[service] = name
        return made[service]

    yield of
    for name in made.values():
        databases.in_own_loop(partial(databases.drop_database, postgres_server, name))


@pytest.fixture
def database(
    postgres_server: str, template: Callable[[str], str]
) -> Iterator[Callable[[str], Database]]:
    """A service's name -> a fresh, migrated database of that service, dropped after the test."""
    with _databases(postgres_server, template) as fresh:
        yield fresh


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[Callable[[str], Database]]:
    """As `database`, before the first migration."""
    with _databases(postgres_server, lambda service: None) as fresh:
        yield fresh


@contextmanager
def _databases(
    postgres_server: str, template: Callable[[str], str | None]
) -> Iterator[Callable[[str], Database]]:
    def fresh(service: str) -> Database:
        source, name = template(service), f"test_{service}_{secrets.token_hex(6)}"
        databases.in_own_loop(
            lambda: databases.make_database(postgres_server, service, name=name, template=source)
        )
        drops.callback(
            databases.in_own_loop, partial(databases.drop_database, postgres_server, name)
        )
        return Database(
            name=name,
            owner_url=with_database(postgres_server, name, databases.owner_of(service)),
            runtime_url=with_database(postgres_server, name, databases.runtime_of(service)),
            admin_url=with_database(postgres_server, name),
            verify_url=with_database(postgres_server, name, databases.VERIFY),
        )

    with ExitStack() as drops:
        yield fresh


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Iterator[str]]:
    """URLs of separate accounts of one server, in turn; each is left without streams."""
    if named := os.environ.get("CBS_TEST_NATS_URL"):
        yield cycle([named])
        return
    with local_nats.throwaway() as url:
        where = url.removeprefix("nats://")
        yield cycle(
            f"nats://t{n}:{local_nats.TEST_PASSWORD}@{where}"
            for n in range(local_nats.TEST_ACCOUNTS)
        )


@pytest.fixture
def nats_url(nats_server: Iterator[str]) -> Iterator[str]:
    """The URL, with user and password, of an account in which nobody else is."""
    url = next(nats_server)
    yield url
    databases.in_own_loop(lambda: _drop_streams(url))


async def _drop_streams(url: str) -> None:
    client = await nats.connect(url)
    try:
        streams = client.jetstream()
        for stream in await streams.streams_info():
            await streams.delete_stream(str(stream.config.name))
    finally:
        await client.close()
