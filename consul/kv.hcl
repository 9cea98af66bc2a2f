# A canary that gets nothing cannot be judged, and where only canaries are left nobody would be asked.
# What a key is when nobody has set it yet; a value that is there is left alone.
Defaults = {
  "cbs/routes/customers/canary-percent" = "10"
  "cbs/routes/accounts/canary-percent"  = "10"
  "cbs/routes/ledger/canary-percent"    = "10"
  "cbs/routes/payments/canary-percent"  = "10"
  "cbs/routes/audit/canary-percent"     = "10"
}
