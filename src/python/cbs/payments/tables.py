from piccolo.columns import (
    UUID,
    BigInt,
    Date,
    Text,
    Timestamptz,
)
from piccolo.table import Table


class TransferRow(Table, tablename="transfer"):
    id = UUID(primary_key=True)
    position = BigInt()
    kind = Text()
    remitter_account = Text()
    beneficiary_account = Text()
    amount_minor = BigInt()
    currency = Text()
    narrative = Text()
    booked_on = Date()
    value_on = Date()
    booked_at = Timestamptz()
