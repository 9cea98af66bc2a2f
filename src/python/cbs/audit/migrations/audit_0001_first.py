from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import plumbing, sql_migration

ID = "audit_0001_first"
DESCRIPTION = "An append-only log of facts and the Merkle tree over it"

# The root of the empty tree is the SHA-256 of nothing (RFC 9162 §2.1.1).
LOG = """
CREATE TABLE audit_entry (
    index bigint PRIMARY KEY CHECK (index >= 0),
    leaf_hash bytea NOT NULL CHECK (leaf_hash = sha256('\\x00'::bytea || body)),
    source text NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    fact text NOT NULL,
    actor text NOT NULL,
    on_behalf_of text NOT NULL,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    correlation_id text NOT NULL,
    body bytea NOT NULL,
    UNIQUE (source, position)
);
CREATE INDEX ON audit_entry (at, index);
CREATE INDEX ON audit_entry (actor, at, index);
CREATE INDEX ON audit_entry (subject, at, index);
CREATE INDEX ON audit_entry (source, at, index);

CREATE TABLE audit_node (
    level smallint CHECK (level BETWEEN 1 AND 62),
    index bigint CHECK (index >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, index)
);

CREATE TABLE audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    tree_size bigint NOT NULL CHECK (tree_size >= 0),
    peaks bytea[] NOT NULL CHECK (cardinality(peaks) = bit_count(int8send(tree_size))),
    root_hash bytea NOT NULL CHECK (octet_length(root_hash) = 32),
    at timestamptz NOT NULL
);
INSERT INTO audit_head (tree_size, peaks, root_hash, at) VALUES (0, '{}', sha256(''), now());
"""

GUARDS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is in the audit log stays as it is: no % of %', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_node
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER grows BEFORE UPDATE ON audit_head
    FOR EACH ROW WHEN (NEW.tree_size <= OLD.tree_size) EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON audit_entry, audit_node TO cbs_audit;
GRANT SELECT, UPDATE (tree_size, peaks, root_hash, at) ON audit_head TO cbs_audit;
"""


async def forwards() -> MigrationManager:
    return sql_migration(
        service="audit", id=ID, description=DESCRIPTION, script=plumbing("audit") + LOG + GUARDS
    )
