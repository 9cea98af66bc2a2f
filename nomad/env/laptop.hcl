# One's own machine: raw_exec, one instance of each, everything on loopback. `cbs cluster dev` adds
# what only it knows: user, ports, folders, artifacts.
datacenters = ["dc1"]

driver = "raw_exec"

nats = { count = 1, cpu = 100, memory = 256 }

postgres_trial = true

gateway = { count = 1, cpu = 200, memory = 256 }

verify    = { crons = ["30 2 * * *"], cpu = 100, memory = 256 }
backup    = { crons = ["30 3 * * *"], cpu = 100, memory = 256, keep = 7 }
time_zone = "UTC"
