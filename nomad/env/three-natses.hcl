# For `cbs cluster dev --values`: what production has of NATS, on one's own machine.
nats = { count = 3, cpu = 100, memory = 256 }

nats_replicas = 3
