from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import saga_table, sql_migration

ID = "customers_0002_standing"
DESCRIPTION = "family names are found, who is alike is held, and accounts are told of a standing"

# Suspended customers of before have their accounts told by sagas that nobody waits for.
SCRIPT = """
ALTER TABLE customer
    ADD COLUMN search_family text,
    ADD COLUMN standing_version bigint NOT NULL DEFAULT 0 CHECK (standing_version >= 0),
    ADD COLUMN standing_under_way boolean NOT NULL DEFAULT false,
    ADD COLUMN alike uuid[] NOT NULL DEFAULT '{}',
    ADD COLUMN alike_reason text,
    ADD COLUMN alike_decided_by text,
    ADD COLUMN alike_decided_at timestamptz;
"""
INDEXES = (
    "customer_search_family ON customer (search_family text_pattern_ops)",
    "customer_held ON customer (id) WHERE alike <> '{}' AND alike_decided_by IS NULL",
)

TELL_ACCOUNTS = """
UPDATE customer SET standing_version = 1, standing_under_way = true WHERE status = 'suspended';
INSERT INTO request (principal, key, fingerprint, asked_at)
SELECT 'customers', 'standing.' || id, '', now() FROM customer WHERE status = 'suspended';
INSERT INTO saga (
    id, kind, step, data, principal, key, on_behalf_of, correlation_id, begun_at, lease_until
)
SELECT uuidv7(), 'suspended', 'tell-accounts',
    jsonb_build_object('customer_id', id, 'version', 1, 'status', 'suspended',
        'reason', coalesce(status_reason, 'suspended')),
    'customers', 'standing.' || id, '', '', now(), now()
FROM customer WHERE status = 'suspended';
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="customers",
        id=ID,
        description=DESCRIPTION,
        script=SCRIPT + saga_table("customers") + TELL_ACCOUNTS,
    )
