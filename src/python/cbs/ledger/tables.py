from piccolo.columns import (
    UUID,
    BigInt,
    Boolean,
    Date,
    SmallInt,
    Text,
    Timestamptz,
)
from piccolo.table import Table


class AccountRow(Table, tablename="account"):
    number = Text(primary_key=True)
    kind = Text()
    currency = Text()
    floor_minor = BigInt(null=True)
    ceiling_minor = BigInt(null=True)
    limit_per_transaction_minor = BigInt(null=True)
    limit_per_day_minor = BigInt(null=True)
    debit_blocked = Boolean()
    credit_blocked = Boolean()
    closed = Boolean()
    version = BigInt()
    balance_minor = BigInt()
    postings = BigInt()
    debited_on = Date(null=True)
    debited_minor = BigInt()


class TransactionRow(Table, tablename="transaction"):
    id = UUID(primary_key=True)
    kind = Text()
    currency = Text()
    booked_on = Date()
    value_on = Date()
    booked_at = Timestamptz()
    narrative = Text()
    actor = Text()


class PostingRow(Table, tablename="posting"):
    account = Text(primary_key=True)
    seq = BigInt()
    transaction_id = UUID()
    leg = SmallInt()
    amount_minor = BigInt()
    balance_after_minor = BigInt()
    currency = Text()
    booked_on = Date()
    value_on = Date()
    limited = Boolean()
