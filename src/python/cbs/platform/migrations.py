"""Migrations run forwards, all or none, one at a time, as the owner of the schema.

An index on a table that is written to would keep its writers waiting: a migration names it in its
INDEXES (`name ON table (…)`), and it is built when all of them are through, beside who writes.

They are piccolo's; what SQL says better (triggers, grants, constraints) stands in them as SQL. What
piccolo runs them with is imported where one is run: a service that serves does not wait for it.
"""

import asyncio
import contextlib
import io
import os
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import asyncpg
from piccolo.engine.postgres import PostgresEngine

from cbs.platform.database import Database, Transaction
from cbs.platform.settings import Misconfigured

if TYPE_CHECKING:
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('cbs migrate'))"

# Who waited for it would be waited for by the one who builds: it is tried for.
ONE_BUILDS = "SELECT pg_try_advisory_lock(hashtext('cbs indexes'))"
BROKEN_OFF = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid"
LOOK_AGAIN_SECONDS = 0.1

PLUMBING = """
CREATE TABLE outbox_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL DEFAULT 0
);
INSERT INTO outbox_head DEFAULT VALUES;
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    id uuid NOT NULL,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE relay (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL DEFAULT 0
);
INSERT INTO relay DEFAULT VALUES;
CREATE TABLE watermark (
    source text PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0)
);
CREATE TABLE dead_letter (
    source text NOT NULL,
    position bigint NOT NULL,
    body bytea NOT NULL,
    error text NOT NULL,
    at timestamptz NOT NULL,
    replayed_at timestamptz,
    PRIMARY KEY (source, position)
);
CREATE TABLE request (
    principal text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint,
    body bytea,
    asked_at timestamptz NOT NULL,
    answered_at timestamptz,
    PRIMARY KEY (principal, key)
);
GRANT SELECT, UPDATE (position) ON outbox_head, relay TO {role};
GRANT SELECT, INSERT ON outbox TO {role};
GRANT SELECT, INSERT, UPDATE (position) ON watermark TO {role};
GRANT SELECT, INSERT, UPDATE (replayed_at) ON dead_letter TO {role};
GRANT SELECT, INSERT, UPDATE (status, body, answered_at) ON request TO {role};
GRANT SELECT ON migration TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO cbs_verify;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO cbs_verify;
"""


def plumbing(service: str) -> str:
    """The tables of outbox, inbox and keys that every service has, with their grants."""
    return PLUMBING.format(role=f"cbs_{service}")


SAGA = """
CREATE TABLE saga (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    step text NOT NULL,
    data jsonb NOT NULL,
    principal text NOT NULL,
    key text NOT NULL,
    on_behalf_of text NOT NULL,
    correlation_id text NOT NULL,
    refusal_code text NOT NULL DEFAULT '',
    refusal_status smallint,
    refusal_body bytea,
    begun_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    CHECK ((refusal_code = '') = (refusal_status IS NULL)),
    CHECK ((refusal_status IS NULL) = (refusal_body IS NULL)),
    UNIQUE (principal, key)
);
CREATE INDEX saga_unfinished ON saga (lease_until) WHERE step <> 'done';
GRANT SELECT, INSERT, UPDATE (
    step, data, refusal_code, refusal_status, refusal_body, lease_until, tries, error
) ON saga TO {role};
"""


def saga_table(service: str) -> str:
    """The table of the sagas of a service that has some, with its grants."""
    return SAGA.format(role=f"cbs_{service}")


def sql_migration(*, service: str, id: str, description: str, script: str) -> "MigrationManager":
    """A piccolo migration that is a script of SQL statements."""
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager
    from piccolo.engine.finder import engine_finder

    manager = MigrationManager(migration_id=id, app_name=service, description=description)

    async def run() -> None:
        engine = engine_finder()
        assert isinstance(engine, PostgresEngine)
        transaction = engine.current_transaction.get()
        assert transaction is not None
        await transaction.connection.execute(script)

    manager.add_raw(run)
    return manager


class _Schema(Database):
    """Piccolo opens transactions inside ours, which here must be the same one."""

    def transaction(self, allow_nested: bool = True) -> Transaction:
        return Transaction(engine=self, allow_nested=True)


def _folder(service: str) -> str:
    path: str = import_module(f"cbs.{service}.migrations").__path__[0]
    return path


async def migrate(service: str, url: str, *, last: str = "all") -> None:
    """Bring the database at `url` up to date, or up to the migration `last`; does nothing when it
    is."""
    from piccolo.apps.migrations.commands.forwards import ForwardsMigrationManager
    from piccolo.apps.migrations.tables import Migration
    from piccolo.conf.apps import AppConfig

    from cbs.platform import piccolo_conf

    engine = _Schema(url)
    os.environ["PICCOLO_CONF"] = piccolo_conf.__name__
    piccolo_conf.DB = engine
    Migration._meta.db = engine
    async with engine.transaction() as transaction:
        await transaction.connection.execute(ONE_AT_A_TIME)
        manager = ForwardsMigrationManager(app_name=service, migration_id=last)
        with contextlib.redirect_stdout(io.StringIO()):
            await manager.create_migration_table()
            result = await manager.run_migrations(
                AppConfig(app_name=service, migrations_folder_path=_folder(service))
            )
        assert result.success, result.message
    await _build_indexes(_indexes(service, last), url)


def _indexes(service: str, last: str) -> list[str]:
    found: list[str] = []
    for name in sorted(module.name for module in pkgutil.iter_modules([_folder(service)])):
        module = import_module(f"cbs.{service}.migrations.{name}")
        found += getattr(module, "INDEXES", ())
        if name == last:
            break
    return found


async def _build_indexes(indexes: list[str], url: str) -> None:
    """Those that are not there yet, anew where somebody was broken off."""
    if not indexes:
        return
    connection = await asyncpg.connect(url)
    try:
        while True:
            if await connection.fetchval(ONE_BUILDS):
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        for row in await connection.fetch(BROKEN_OFF):
            await connection.execute(f"DROP INDEX CONCURRENTLY {row['name']}")
        for index in indexes:
            await connection.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index}")
    finally:
        await connection.close()


async def check_migrated(service: str, database: Database) -> None:
    """Raises Misconfigured if the code expects more than the database has."""
    names = {module.name for module in pkgutil.iter_modules([_folder(service)])}
    try:
        rows = await database.fetch("SELECT name FROM migration")
    except asyncpg.UndefinedTableError:
        rows = []
    missing = sorted(names - {row["name"] for row in rows})
    if missing:
        raise Misconfigured(
            f"the database of {service} lacks {', '.join(missing)}: run `{service} migrate` first"
        )
