from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import sql_migration

ID = "customers_0003_salt"
DESCRIPTION = "what is told as a digest of a customer's rows cannot be guessed"


async def forwards() -> MigrationManager:
    return sql_migration(
        service="customers",
        id=ID,
        description=DESCRIPTION,
        script="ALTER TABLE customer ADD COLUMN salt bytea CHECK (octet_length(salt) = 16);",
    )
