"""Audit hears everybody, itself included, and asks nobody."""

from cbs.platform.connections import Connections

CONNECTIONS = Connections(
    service="audit", hears=("customers", "accounts", "ledger", "payments", "audit")
)
