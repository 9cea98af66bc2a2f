# One of two sidecars may be killed.
services = {
  ledger = { count = 2 }
}
