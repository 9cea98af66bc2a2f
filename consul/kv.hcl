# What a key is when nobody has set it yet; a value that is there is left alone.
Defaults = {
  "cbs/routes/customers/canary-percent" = "0"
  "cbs/routes/accounts/canary-percent"  = "0"
  "cbs/routes/ledger/canary-percent"    = "0"
  "cbs/routes/payments/canary-percent"  = "0"
  "cbs/routes/audit/canary-percent"     = "0"
}
