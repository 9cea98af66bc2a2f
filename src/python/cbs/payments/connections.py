from cbs.platform.connections import Connections

CONNECTIONS = Connections(
    service="payments",
    calls=("ledger.post", "ledger.transaction", "ledger.request"),
    hears=("ledger",),
)
