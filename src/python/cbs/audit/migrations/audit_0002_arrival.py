from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import sql_migration

ID = "audit_0002_arrival"
DESCRIPTION = "entries are listed as they arrived: nothing comes before what was read already"

# What is sought in a period goes by its time, (at, index), as before.
INDEXES = """
CREATE INDEX audit_entry_of_actor ON audit_entry (actor, index);
CREATE INDEX audit_entry_of_subject ON audit_entry (subject, index);
CREATE INDEX audit_entry_of_source ON audit_entry (source, index);
-- expand: none is unique, and the new ones find as much
DROP INDEX audit_entry_actor_at_index_idx, audit_entry_subject_at_index_idx,
    audit_entry_source_at_index_idx;
"""


async def forwards() -> MigrationManager:
    return sql_migration(service="audit", id=ID, description=DESCRIPTION, script=INDEXES)
