from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import plumbing, sql_migration

ID = "payments_0001_first"
DESCRIPTION = "the list of payments, as the ledger's facts tell it"

TRANSFERS = """
CREATE TABLE transfer (
    id uuid PRIMARY KEY,
    position bigint NOT NULL UNIQUE CHECK (position > 0),
    kind text NOT NULL CHECK (kind IN ('transfer', 'cash-deposit', 'cash-withdrawal')),
    remitter_account text NOT NULL,
    beneficiary_account text NOT NULL CHECK (beneficiary_account <> remitter_account),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency char(3) NOT NULL,
    narrative text NOT NULL,
    booked_on date NOT NULL,
    value_on date NOT NULL,
    booked_at timestamptz NOT NULL
);
CREATE INDEX ON transfer (remitter_account, position);
CREATE INDEX ON transfer (beneficiary_account, position);
GRANT SELECT, INSERT ON transfer TO cbs_payments;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="payments", id=ID, description=DESCRIPTION, script=plumbing("payments") + TRANSFERS
    )
