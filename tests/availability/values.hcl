# What the proofs under load have two or three of: a node may go, and each is still there once.
services = {
  accounts  = { count = 2 }
  audit     = { count = 2 }
  customers = { count = 2 }
  ledger    = { count = 2 }
  payments  = { count = 2 }
}

gateway      = { count = 2 }
gateway_port = 0

nats          = { count = 3 }
nats_replicas = 3
