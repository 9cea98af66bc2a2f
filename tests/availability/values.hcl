# What the proofs under load have two or three of.
services = {
  ledger = { count = 2 }
}

gateway      = { count = 2 }
gateway_port = 0

nats          = { count = 3 }
nats_replicas = 3
