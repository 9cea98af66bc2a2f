"""Each service has a database, a role that owns it and a role that works in it; `verify` reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from cbs.tools.local.postgres import with_database, without_user
from cbs.tools.local.waiting import until

T = TypeVar("T")
VERIFY, BACKUP = "cbs_verify", "cbs_backup"
NOTED = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1"
DROP_SECONDS_MAX = 60.0
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class AnothersBank(RuntimeError):
    """The server holds the databases of another bank, whose roles have the same names."""


class NotDurable(RuntimeError):
    """The server may lose what it has acknowledged; a bank does not run on it."""


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end from ordinary code, even where an event loop already runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def owner_of(service: str) -> str:
    return f"cbs_{service}_owner"


def runtime_of(service: str) -> str:
    return f"cbs_{service}"


def roles_of(services: tuple[str, ...]) -> tuple[str, ...]:
    pairs = [role for s in services for role in (owner_of(s), runtime_of(s))]
    return (*pairs, VERIFY)


@asynccontextmanager
async def connected(url: str, **how: Any) -> AsyncIterator[Any]:
    """A connection for the length of a block; `how` is what asyncpg.connect takes."""
    connection = await asyncpg.connect(url, **how)
    try:
        yield connection
    finally:
        await connection.close()


async def number(url: str, query: str, *values: Any) -> int:
    """What a query answers; 0 for nothing."""
    async with connected(url) as connection:
        return int(await connection.fetchval(query, *values) or 0)


async def check_durable(admin_url: str) -> None:
    async with connected(admin_url) as connection:
        off = [name for name in DURABLE if await connection.fetchval(f"SHOW {name}") == "off"]
    if off:
        raise NotDurable(f"{', '.join(off)} is off on this PostgreSQL: a bank needs it on")


async def claim(admin_url: str, bank: str) -> None:
    """Mark a server as this bank's; raises AnothersBank if it is marked as another's."""
    async with connected(admin_url) as admin:
        if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", VERIFY):
            await admin.execute(f"CREATE ROLE {VERIFY} LOGIN")
        mark = await admin.fetchval(NOTED, VERIFY)
        if mark not in (None, bank):
            raise AnothersBank(
                f"{without_user(admin_url)} holds another bank: `reset` that one, with the same"
                " CBS_POSTGRES_URL, or use another server"
            )
        await admin.execute(f"COMMENT ON ROLE {VERIFY} IS '{bank}'")


async def erase(admin_url: str, services: tuple[str, ...]) -> None:
    """Drop the databases and roles of a bank."""
    for service in services:
        await drop_database(admin_url, runtime_of(service))
    async with connected(admin_url) as admin:
        for role in (BACKUP, *roles_of(services)):
            await admin.execute(f"DROP ROLE IF EXISTS {role}")


async def make_roles(admin_url: str, verifiers: dict[str, str | None]) -> None:
    """Make or refresh roles; a value is a SCRAM verifier (the server never sees a password)."""
    async with connected(admin_url) as connection:
        known = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role, verifier in verifiers.items():
            if role not in known:
                await connection.execute(f"CREATE ROLE {role} LOGIN")
            if verifier:
                await connection.execute(f"ALTER ROLE {role} PASSWORD '{verifier}'")
            if role.endswith("_owner"):
                await connection.execute(f"GRANT {role} TO CURRENT_USER")
        await connection.execute(f"ALTER ROLE {VERIFY} SET default_transaction_read_only = on")


async def make_backup_role(admin_url: str, verifier: str, vault_key: str) -> None:
    """A role that may copy the server whole, and ask what `verify` may.

    `vault_key` recognises the key of this bank's customers: it is noted with the role, so that
    a backup can say which key it needs, and whoever makes it need not have the key.
    """
    assert vault_key.isalnum(), vault_key
    await make_roles(admin_url, {BACKUP: verifier})
    async with connected(admin_url) as admin:
        await admin.execute(f"ALTER ROLE {BACKUP} REPLICATION")
        await admin.execute(f"GRANT {VERIFY} TO {BACKUP}")
        await admin.execute(f"ALTER ROLE {BACKUP} SET default_transaction_read_only = on")
        await admin.execute(f"COMMENT ON ROLE {BACKUP} IS '{vault_key}'")


async def noted(url: str, *roles: str) -> list[str | None]:
    """What was noted with each of the roles; None where there is no such role."""
    async with connected(url) as connection:
        return [await connection.fetchval(NOTED, role) for role in roles]


async def make_database(
    admin_url: str, service: str, *, name: str | None = None, template: str | None = None
) -> None:
    """Make the database of a service if it is missing, closed to all but its own roles."""
    name = name or runtime_of(service)
    owner, runtime = owner_of(service), runtime_of(service)
    async with connected(admin_url) as admin:
        if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            source = f" TEMPLATE {template}" if template else ""
            await admin.execute(f"CREATE DATABASE {name} OWNER {owner}{source}")
        await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {runtime}, {VERIFY}")
    if template is None:
        await _hand_over_schema(with_database(admin_url, name), owner, runtime)


async def _hand_over_schema(url: str, owner: str, runtime: str) -> None:
    """The owner has the schema; the other two may look in; `verify` reads all that will be made."""
    async with connected(url) as inside:
        await inside.execute(f"ALTER SCHEMA public OWNER TO {owner}")
        await inside.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        await inside.execute(f"GRANT USAGE ON SCHEMA public TO {runtime}, {VERIFY}")
        for things in ("TABLES", "SEQUENCES"):
            await inside.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON {things} TO {VERIFY}"
            )


async def program_of(admin_url: str, service: str) -> str:
    """The fingerprint of the program that last migrated a service's database.

    It is kept with the database itself, so that it is right after a restore or a change of server.
    """
    async with connected(admin_url) as admin:
        return str(
            await admin.fetchval(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
                runtime_of(service),
            )
        )


async def note_program(admin_url: str, service: str, fingerprint: str) -> None:
    assert fingerprint.isalnum(), fingerprint
    async with connected(admin_url) as admin:
        await admin.execute(f"COMMENT ON DATABASE {runtime_of(service)} IS '{fingerprint}'")


async def seal_template(admin_url: str, name: str) -> None:
    """Let nobody in, so that the database can be copied at any time."""
    async with connected(admin_url) as admin:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name
        )


async def drop_database(admin_url: str, name: str, **how: Any) -> None:
    """Also one that is in use: under load its sessions take longer to end than PostgreSQL waits.

    `how` is what asyncpg.connect takes. Raises OSError.
    """
    async with connected(admin_url, **how) as admin:

        async def dropped() -> bool:
            try:
                await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            except asyncpg.ObjectInUseError:
                return False
            return True

        if not await until(dropped, seconds=DROP_SECONDS_MAX):
            raise OSError(f"the database {name} is in use, and is not dropped")
