from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import plumbing, sql_migration

ID = "customers_0001_first"
VERSION = "1.38.0"
DESCRIPTION = "Customers and their documents"

SCRIPT = """
CREATE TABLE customer (
    id uuid PRIMARY KEY,
    given_name text NOT NULL,
    family_name text,
    search_name text NOT NULL,
    date_of_birth date NOT NULL,
    email text,
    mobile varchar(16) CHECK (mobile ~ '^\\+[1-9][0-9]{6,14}$'),
    address jsonb NOT NULL,
    imported boolean NOT NULL,
    registered_at timestamptz NOT NULL,
    status varchar(16) NOT NULL CHECK (status IN ('active', 'suspended', 'closed')),
    status_reason text,
    kyc varchar(16) NOT NULL CHECK (kyc IN ('pending', 'verified', 'rejected', 'expired')),
    verified_until date CHECK ((kyc = 'verified') = (verified_until IS NOT NULL)),
    risk varchar(16) NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    risk_reason text,
    rated_by text,
    rated_at timestamptz,
    CHECK ((rated_by IS NULL) = (rated_at IS NULL))
);
CREATE INDEX customer_search_name ON customer (search_name text_pattern_ops);
CREATE INDEX customer_mobile ON customer (mobile);
CREATE INDEX customer_verified_until ON customer (verified_until);
CREATE TABLE document (
    id uuid PRIMARY KEY,
    customer uuid NOT NULL REFERENCES customer,
    place smallint NOT NULL,
    type varchar(32) NOT NULL,
    issuer text NOT NULL,
    sealed bytea NOT NULL,
    number_index bytea NOT NULL CHECK (length(number_index) = 32),
    expires_on date,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL,
    state varchar(16) NOT NULL CHECK (state IN ('pending', 'verified', 'rejected')),
    decided_by text,
    decided_at timestamptz,
    reason text,
    UNIQUE (customer, place),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL))
);
CREATE UNIQUE INDEX document_once ON document (number_index) WHERE state <> 'rejected';
CREATE TABLE vault (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    proof bytea NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON customer TO cbs_customers;
GRANT SELECT, INSERT, UPDATE (state, decided_by, decided_at, reason) ON document TO cbs_customers;
GRANT SELECT, INSERT ON vault TO cbs_customers;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="customers", id=ID, description=DESCRIPTION, script=plumbing("customers") + SCRIPT
    )
