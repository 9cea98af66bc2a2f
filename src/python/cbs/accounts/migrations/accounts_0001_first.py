from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import plumbing, sql_migration

ID = "accounts_0001_first"
DESCRIPTION = "products, accounts and their changes"

TABLES = """
CREATE TABLE product (
    code text PRIMARY KEY,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('savings', 'current')),
    currency char(3) NOT NULL,
    overdraft_min_minor bigint NOT NULL DEFAULT 0 CHECK (overdraft_min_minor >= 0),
    overdraft_max_minor bigint NOT NULL DEFAULT 0,
    limit_per_transaction_minor bigint CHECK (limit_per_transaction_minor >= 0),
    limit_per_day_minor bigint CHECK (limit_per_day_minor >= 0),
    active boolean NOT NULL DEFAULT true,
    CHECK (overdraft_min_minor <= overdraft_max_minor)
);
CREATE SEQUENCE account_serial MAXVALUE 999999999;
CREATE TABLE account (
    id uuid PRIMARY KEY,
    number text NOT NULL UNIQUE CHECK (number ~ '^[0-9]{14}$'),
    branch integer NOT NULL CHECK (branch BETWEEN 1 AND 9999),
    customer_id uuid NOT NULL,
    product text NOT NULL REFERENCES product,
    currency char(3) NOT NULL,
    state text NOT NULL CHECK (state IN ('opening', 'open', 'closing', 'closed', 'refused')),
    overdraft_minor bigint NOT NULL CHECK (overdraft_minor >= 0),
    limit_per_transaction_minor bigint CHECK (limit_per_transaction_minor >= 0),
    limit_per_day_minor bigint CHECK (limit_per_day_minor >= 0),
    frozen text CHECK (frozen IN ('debits', 'all')),
    version bigint NOT NULL CHECK (version > 0),
    acknowledged bigint NOT NULL CHECK (acknowledged BETWEEN 0 AND version),
    contingent boolean NOT NULL,
    opened_at timestamptz,
    closed_at timestamptz,
    CHECK ((opened_at IS NULL) = (state IN ('opening', 'refused'))),
    CHECK ((closed_at IS NULL) = (state <> 'closed')),
    CHECK (contingent OR state NOT IN ('opening', 'closing'))
);
CREATE INDEX account_of_customer ON account (customer_id, id);
CREATE TABLE change (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account,
    kind text NOT NULL CHECK (kind IN ('open', 'freeze', 'unfreeze', 'limits', 'close')),
    step text NOT NULL
        CHECK (step IN ('check-customer', 'tell-ledger', 'withdraw', 'done')),
    version bigint NOT NULL,
    terms jsonb NOT NULL,
    former jsonb NOT NULL,
    principal text NOT NULL,
    key text NOT NULL,
    on_behalf_of text NOT NULL,
    correlation_id text NOT NULL,
    reason text NOT NULL,
    refusal_status smallint,
    refusal_body bytea,
    lease_until timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    UNIQUE (principal, key)
);
CREATE INDEX change_unfinished ON change (lease_until) WHERE step <> 'done';
CREATE INDEX change_of_account ON change (account_id);
"""

# In paise: a savings account pays up to 2 lakh at once and 5 lakh a day, a current account ten
# times as much. An overdraft is agreed on a current account alone, up to 5 lakh.
PRODUCTS = """
INSERT INTO product (
    code, name, kind, currency, overdraft_max_minor, limit_per_transaction_minor,
    limit_per_day_minor
) VALUES
    ('SAVINGS-INR', 'Savings account', 'savings', 'INR', 0, 20000000, 50000000),
    ('CURRENT-INR', 'Current account', 'current', 'INR', 50000000, 200000000, 500000000);
"""

GRANTS = """
GRANT SELECT, INSERT ON product TO cbs_accounts;
GRANT USAGE ON SEQUENCE account_serial TO cbs_accounts;
GRANT SELECT, INSERT ON account, change TO cbs_accounts;
GRANT UPDATE (
    state, overdraft_minor, limit_per_transaction_minor, limit_per_day_minor, frozen, version,
    acknowledged, contingent, opened_at, closed_at
) ON account TO cbs_accounts;
GRANT UPDATE (step, version, refusal_status, refusal_body, lease_until, tries, error)
    ON change TO cbs_accounts;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="accounts",
        id=ID,
        description=DESCRIPTION,
        script=plumbing("accounts") + TABLES + PRODUCTS + GRANTS,
    )
