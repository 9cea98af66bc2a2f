from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import sql_migration

ID = "accounts_0003_freeze"
DESCRIPTION = "freezes are kept apart, and what is known of who holds an account"

TABLES = """
CREATE TABLE account_freeze (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account,
    scope text NOT NULL CHECK (scope IN ('debits', 'all')),
    cause text NOT NULL CHECK (cause IN ('order', 'suspension')),
    reason text NOT NULL,
    authority text,
    until date,
    placed_by text NOT NULL,
    placed_at timestamptz NOT NULL,
    lifted_by text,
    lifted_at timestamptz,
    lifted_because text,
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL)),
    CHECK ((lifted_at IS NULL) = (lifted_because IS NULL))
);
CREATE INDEX freeze_of_account ON account_freeze (account_id) WHERE lifted_at IS NULL;
CREATE INDEX freeze_until ON account_freeze (until) WHERE lifted_at IS NULL;
CREATE UNIQUE INDEX freeze_one_suspension ON account_freeze (account_id)
    WHERE lifted_at IS NULL AND cause = 'suspension';
CREATE TABLE holder (
    customer_id uuid PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    standing text NOT NULL CHECK (standing IN ('active', 'suspended', 'closed'))
);
"""

# The strictest freeze holds, also where a release that knows of one only would lift it.
STRICTEST = """
CREATE FUNCTION strictest_freeze_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM account_freeze WHERE account_id = NEW.id AND lifted_at IS NULL
            AND (NEW.frozen IS NULL OR scope = 'all' AND NEW.frozen <> 'all')
    ) THEN
        RAISE EXCEPTION 'a stricter freeze of account % holds', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
-- expand: it refuses only what would weaken a freeze that the release before knows nothing of
CREATE TRIGGER strictest_freeze_holds BEFORE UPDATE OF frozen ON account
    FOR EACH ROW WHEN (OLD.frozen IS DISTINCT FROM NEW.frozen)
    EXECUTE FUNCTION strictest_freeze_holds();
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE (lifted_by, lifted_at, lifted_because)
    ON account_freeze TO cbs_accounts;
GRANT SELECT, INSERT, UPDATE (version, standing) ON holder TO cbs_accounts;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="accounts", id=ID, description=DESCRIPTION, script=TABLES + STRICTEST + GRANTS
    )
