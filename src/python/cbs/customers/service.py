"""Customers knows who the bank does business with, and has accounts hold them to it."""

from cbs.platform.declaration import Declaration, Needs

DECLARATION = Declaration(
    service="customers",
    entrance="/v1/customers",
    serves=("standing",),
    calls=("accounts.set-standing",),
    publishes=(
        "customer-registered",
        "customer-amended",
        "customer-held",
        "customer-found-distinct",
        "document-added",
        "document-verified",
        "document-rejected",
        "kyc-status-changed",
        "risk-rated",
        "customer-suspended",
        "customer-reinstated",
        "customer-closed",
        "customer-recorded",
    ),
    keeps=("customer", "document", "vault", "saga"),
    permits=("customers.read", "customers.write", "customers.verify", "customers.import"),
    needs=Needs(keys=("vault",)),
)
