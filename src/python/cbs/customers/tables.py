from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    Date,
    SmallInt,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table


class CustomerRow(Table, tablename="customer"):
    """`search_name` and `search_family` are names in one case; `verified_until` is null unless
    `kyc` is verified. `alike` are customers who may be the same person. `salt` is a new one with
    each change, and null until the first that was recorded."""

    id = UUID(primary_key=True)
    given_name = Text()
    family_name = Text(null=True)
    search_name = Text()
    date_of_birth = Date()
    email = Text(null=True)
    mobile = Varchar(length=16, null=True)
    address = JSONB()
    imported = Boolean()
    registered_at = Timestamptz()
    status = Varchar(length=16)
    status_reason = Text(null=True)
    kyc = Varchar(length=16)
    verified_until = Date(null=True)
    risk = Varchar(length=16)
    risk_reason = Text(null=True)
    rated_by = Text(null=True)
    rated_at = Timestamptz(null=True)
    search_family = Text(null=True)
    standing_version = BigInt()
    standing_under_way = Boolean()
    alike = Array(base_column=UUID())
    alike_reason = Text(null=True)
    alike_decided_by = Text(null=True)
    alike_decided_at = Timestamptz(null=True)
    salt = Bytea(null=True)


class DocumentRow(Table, tablename="document"):
    """The number is only in `sealed`, found by `number_index`; `place` counts from 0."""

    id = UUID(primary_key=True)
    customer = UUID()
    place = SmallInt()
    type = Varchar(length=32)
    issuer = Text()
    sealed = Bytea()
    number_index = Bytea()
    expires_on = Date(null=True)
    added_by = Text()
    added_at = Timestamptz()
    state = Varchar(length=16)
    decided_by = Text(null=True)
    decided_at = Timestamptz(null=True)
    reason = Text(null=True)
