from piccolo.columns import (
    JSONB,
    UUID,
    BigInt,
    Boolean,
    Bytea,
    Integer,
    SmallInt,
    Text,
    Timestamptz,
)
from piccolo.table import Table


class ProductRow(Table, tablename="product"):
    code = Text(primary_key=True)
    name = Text()
    kind = Text()
    currency = Text()
    overdraft_min_minor = BigInt()
    overdraft_max_minor = BigInt()
    limit_per_transaction_minor = BigInt(null=True)
    limit_per_day_minor = BigInt(null=True)
    active = Boolean()


class AccountRow(Table, tablename="account"):
    id = UUID(primary_key=True)
    number = Text()
    branch = Integer()
    customer_id = UUID()
    product = Text()
    currency = Text()
    state = Text()
    overdraft_minor = BigInt()
    limit_per_transaction_minor = BigInt(null=True)
    limit_per_day_minor = BigInt(null=True)
    frozen = Text(null=True)
    version = BigInt()
    acknowledged = BigInt()
    contingent = Boolean()
    opened_at = Timestamptz(null=True)
    closed_at = Timestamptz(null=True)


class ChangeRow(Table, tablename="change"):
    id = UUID(primary_key=True)
    account_id = UUID()
    kind = Text()
    step = Text()
    version = BigInt()
    terms = JSONB()
    former = JSONB()
    principal = Text()
    key = Text()
    on_behalf_of = Text()
    correlation_id = Text()
    reason = Text()
    refusal_status = SmallInt(null=True)
    refusal_body = Bytea(null=True)
    lease_until = Timestamptz()
    tries = Integer()
    error = Text()
