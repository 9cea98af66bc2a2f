from cbs.platform.connections import Connections

CONNECTIONS = Connections(
    service="accounts",
    calls=("customers.standing", "ledger.set-account", "ledger.accounts", "ledger.history"),
)
