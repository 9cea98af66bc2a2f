"""The ledger is the book: it asks nobody, and whoever wants money moved asks it."""

from cbs.platform.declaration import Declaration, Needs

DECLARATION = Declaration(
    service="ledger",
    entrance="/v1/ledger/accounts",
    serves=(
        "post",
        "open-account",
        "change-terms",
        # Of a release of accounts that knows neither of these two.
        "set-account",
        "accounts",
        "history",
        "transaction",
        "request",
    ),
    publishes=("transaction-posted", "account-set"),
    keeps=("account", "transaction", "posting"),
    permits=("ledger.read", "ledger.accounts", "ledger.post", "ledger.backdate", "ledger.import"),
    needs=Needs(cpu_mhz=200),
)
