"""Customers knows who the bank does business with; it asks nobody and hears nobody."""

from cbs.platform.declaration import Declaration, Needs

DECLARATION = Declaration(
    service="customers",
    entrance="/v1/customers",
    serves=("standing",),
    publishes=(
        "customer-registered",
        "customer-amended",
        "document-added",
        "document-verified",
        "document-rejected",
        "kyc-status-changed",
        "risk-rated",
        "customer-suspended",
        "customer-reinstated",
        "customer-closed",
    ),
    keeps=("customer", "document", "vault"),
    permits=("customers.read", "customers.write", "customers.verify", "customers.import"),
    needs=Needs(keys=("vault",)),
)
