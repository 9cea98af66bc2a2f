Kind     = "service-defaults"
Name     = "cbs-ledger"
Protocol = "http"
