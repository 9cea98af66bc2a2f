from piccolo.columns import (
    Array,
    BigInt,
    Boolean,
    Bytea,
    Text,
    Timestamptz,
)
from piccolo.table import Table


class EntryRow(Table, tablename="audit_entry"):
    index = BigInt(primary_key=True)
    leaf_hash = Bytea()
    source = Text()
    position = BigInt()
    fact = Text()
    actor = Text()
    on_behalf_of = Text()
    subject = Text()
    at = Timestamptz()
    correlation_id = Text()
    body = Bytea()


class HeadRow(Table, tablename="audit_head"):
    one = Boolean(primary_key=True)
    tree_size = BigInt()
    peaks = Array(base_column=Bytea())
    root_hash = Bytea()
    at = Timestamptz()
