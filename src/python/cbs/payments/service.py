"""Payments asks the ledger for every payment, and lists what the ledger says it has posted."""

from cbs.platform.declaration import Declaration

DECLARATION = Declaration(
    service="payments",
    entrance="/v1/payments/transfers",
    calls=("ledger.post", "ledger.transaction", "ledger.request"),
    hears=("ledger",),
    keeps=("transfer",),
    permits=("payments.read", "payments.transfer", "payments.cash"),
)
