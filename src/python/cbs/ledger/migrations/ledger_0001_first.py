from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import plumbing, sql_migration

ID = "ledger_0001_first"
DESCRIPTION = "accounts, transactions and postings; double entry kept by the database itself"

TABLES = """
CREATE TABLE account (
    number text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('customer', 'internal')),
    currency char(3) NOT NULL,
    floor_minor bigint,
    ceiling_minor bigint,
    limit_per_transaction_minor bigint,
    limit_per_day_minor bigint,
    debit_blocked boolean NOT NULL,
    credit_blocked boolean NOT NULL,
    closed boolean NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    balance_minor bigint NOT NULL DEFAULT 0,
    postings bigint NOT NULL DEFAULT 0,
    debited_on date,
    debited_minor bigint NOT NULL DEFAULT 0,
    CONSTRAINT floor CHECK (balance_minor >= floor_minor),
    CONSTRAINT ceiling CHECK (balance_minor <= ceiling_minor),
    CONSTRAINT closed_at_zero CHECK (NOT closed OR balance_minor = 0)
) WITH (fillfactor = 50);
CREATE TABLE transaction (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    currency char(3) NOT NULL,
    booked_on date NOT NULL,
    value_on date NOT NULL CHECK (value_on <= booked_on),
    booked_at timestamptz NOT NULL,
    narrative text NOT NULL,
    actor text NOT NULL
);
CREATE TABLE posting (
    account text NOT NULL,
    seq bigint NOT NULL,
    transaction_id uuid NOT NULL,
    leg smallint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    balance_after_minor bigint NOT NULL,
    currency char(3) NOT NULL,
    booked_on date NOT NULL,
    value_on date NOT NULL,
    limited boolean NOT NULL,
    PRIMARY KEY (account, seq)
);
CREATE UNIQUE INDEX posting_of_transaction ON posting (transaction_id, leg);
"""

# One statement inserts all legs of its transactions, so each statement must balance by itself,
# and balances move only here: the runtime role cannot write them. What the application worked
# out (seq, balance_after_minor) must end where the account ends.
DOUBLE_ENTRY = """
CREATE FUNCTION apply_postings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    touched bigint;
    moved bigint;
BEGIN
    IF EXISTS (
        SELECT FROM added GROUP BY transaction_id
        HAVING sum(amount_minor) <> 0 OR count(*) < 2 OR count(DISTINCT currency) > 1
    ) THEN
        RAISE EXCEPTION 'the postings of a transaction sum to zero in one currency'
            USING ERRCODE = 'check_violation';
    END IF;
    SELECT count(DISTINCT account) INTO touched FROM added;
    UPDATE account SET
        balance_minor = account.balance_minor + total.amount_minor,
        postings = account.postings + total.postings,
        debited_on = greatest(account.debited_on, total.booked_on),
        debited_minor = total.debited_minor
            + CASE WHEN account.debited_on >= total.booked_on THEN account.debited_minor ELSE 0 END
    FROM (
        SELECT added.account, currency, sum(amount_minor) AS amount_minor, count(*) AS postings,
            min(booked_on) AS booked_on, max(booked_on) AS last_booked_on, max(seq) AS seq,
            coalesce(sum(-amount_minor) FILTER (WHERE limited AND amount_minor < 0), 0)
                AS debited_minor,
            (array_agg(balance_after_minor ORDER BY seq DESC))[1] AS balance_minor
        FROM added GROUP BY added.account, currency
    ) AS total
    WHERE account.number = total.account
        AND account.currency = total.currency
        AND NOT account.closed
        AND account.postings + total.postings = total.seq
        AND account.balance_minor + total.amount_minor = total.balance_minor
        AND total.booked_on = total.last_booked_on;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> touched THEN
        RAISE EXCEPTION 'a posting does not follow from its account'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION apply_postings() FROM PUBLIC;
CREATE TRIGGER apply_postings AFTER INSERT ON posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION apply_postings();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

CHART = """
INSERT INTO account (number, kind, currency, debit_blocked, credit_blocked, closed, version)
SELECT 'INR-' || name, 'internal', 'INR', false, false, false, 1
FROM unnest(ARRAY['CASH', 'CLEARING', 'SUSPENSE', 'FEES', 'INTEREST']) AS name;
"""

GRANTS = """
GRANT SELECT ON account, transaction, posting TO cbs_ledger;
GRANT INSERT ON transaction, posting TO cbs_ledger;
GRANT INSERT (
    number, kind, currency, floor_minor, ceiling_minor, limit_per_transaction_minor,
    limit_per_day_minor, debit_blocked, credit_blocked, closed, version
) ON account TO cbs_ledger;
GRANT UPDATE (
    floor_minor, ceiling_minor, limit_per_transaction_minor, limit_per_day_minor, debit_blocked,
    credit_blocked, closed, version
) ON account TO cbs_ledger;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="ledger",
        id=ID,
        description=DESCRIPTION,
        script=plumbing("ledger") + TABLES + DOUBLE_ENTRY + CHART + GRANTS,
    )
