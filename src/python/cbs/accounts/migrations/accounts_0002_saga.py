from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import saga_table, sql_migration

ID = "accounts_0002_saga"
DESCRIPTION = "changes are sagas of the platform; those begun before are carried on by the service"


async def forwards() -> MigrationManager:
    return sql_migration(
        service="accounts", id=ID, description=DESCRIPTION, script=saga_table("accounts")
    )
