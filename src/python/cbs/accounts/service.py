"""Accounts agrees terms with customers; what is on an account the ledger alone says."""

from cbs.platform.declaration import Declaration

DECLARATION = Declaration(
    service="accounts",
    entrance="/v1/accounts",
    serves=("set-standing",),
    calls=(
        "customers.standing",
        "ledger.open-account",
        "ledger.change-terms",
        "ledger.accounts",
        "ledger.history",
    ),
    publishes=(
        "product-added",
        "account-opened",
        "account-opening-refused",
        "account-frozen",
        "account-unfrozen",
        "limits-changed",
        "account-closed",
    ),
    keeps=("product", "account", "account_freeze", "holder", "saga", "change"),
    permits=("accounts.read", "accounts.write", "accounts.freeze", "accounts.products"),
)
