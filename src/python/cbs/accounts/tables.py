from piccolo.columns import (
    UUID,
    BigInt,
    Boolean,
    Date,
    Integer,
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


class FreezeRow(Table, tablename="account_freeze"):
    id = UUID(primary_key=True)
    account_id = UUID()
    scope = Text()
    cause = Text()
    reason = Text()
    authority = Text(null=True)
    until = Date(null=True)
    placed_by = Text()
    placed_at = Timestamptz()
    lifted_by = Text(null=True)
    lifted_at = Timestamptz(null=True)
    lifted_because = Text(null=True)
