from cbs.platform.connections import Connections

CONNECTIONS = Connections(
    service="ledger",
    serves=("post", "set-account", "accounts", "history", "transaction", "request"),
)
