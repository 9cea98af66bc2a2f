"""What a service's stores are made on: in memory, or in a database of PostgreSQL."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cbs.platform.database import Transaction
from cbs.platform.declaration import Declaration
from cbs.platform.memory.database import Connection, MemoryDatabase
from cbs.platform.memory.stores import MemoryInbox, MemoryKeys, MemoryOutbox
from cbs.platform.problem import answer_of
from cbs.platform.service import Runtime
from cbs.platform.settings import Settings

BOTH = ["memory", "postgres"]


def url_of(request: pytest.FixtureRequest, service: str) -> str | None:
    """Of a fresh database for a fixture with the parameters BOTH; None in memory."""
    if request.param == "memory":
        return None
    return str(request.getfixturevalue("database")(service).runtime_url)


@asynccontextmanager
async def runtime_on(
    declaration: Declaration, url: str | None, settings_type: type[Any] = Settings, **settings: Any
) -> AsyncIterator[Runtime[Any]]:
    """Its database is open, and nothing else is; without a URL it is in memory."""
    values = {"postgres_url": url or "", "nats_url": "", "jwks_file": Path(os.devnull), **settings}
    runtime: Runtime[Any] = Runtime.of(declaration, settings_type(**values))
    if url is None:
        database = MemoryDatabase()
        outbox = MemoryOutbox(
            service=declaration.service, publishes=declaration.facts, database=database
        )
        runtime = replace(
            runtime,
            database=database,
            outbox=outbox,
            inbox=MemoryInbox(database=database),
            requests=MemoryKeys(database=database, outbox=outbox, refused=answer_of),
        )
    await runtime.database.open()
    try:
        yield runtime
    finally:
        await runtime.database.close()


T = TypeVar("T")
Made = Callable[[Runtime[Any]], T]


def made_on(runtime: Runtime[Any], in_memory: Made[T], in_postgres: Made[T]) -> T:
    return (in_memory if isinstance(runtime.database, MemoryDatabase) else in_postgres)(runtime)


def lose_connection(runtime: Runtime[Any]) -> None:
    """The one of the transaction that the caller is in."""
    if isinstance(runtime.database, MemoryDatabase):
        runtime.database.server.cut()
    else:
        runtime.postgres.connection.terminate()


def lose_connection_of(turn: Any) -> None:
    connection = turn.connection
    (connection.lose if isinstance(connection, Connection) else connection.terminate)()


@contextmanager
def commit_lost(runtime: Runtime[Any], *, done: bool) -> Iterator[None]:
    """At the next COMMIT the connection breaks; it was `done`, or not: nobody is told which."""
    if isinstance(runtime.database, MemoryDatabase):
        server = runtime.database.server
        server.commits_to_lose, server.lose_before = 1, not done
        yield
        assert not server.commits_to_lose, "nothing was committed"
        return
    commit, lost = Transaction.commit, list[Transaction]()

    async def losing(transaction: Transaction) -> None:
        if lost:
            await commit(transaction)
            return
        lost.append(transaction)
        if done:
            await commit(transaction)
        transaction.connection.terminate()
        raise ConnectionResetError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "commit", losing)
        yield
    assert lost, "nothing was committed"
