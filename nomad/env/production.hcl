# Three nodes or more. PostgreSQL is the operator's own; each node has Python 3.11, a Consul agent, and
# where NATS may run, the host volume `cbs-nats` that user nobody owns.
datacenters = ["dc1"]

driver = "exec"
python = "/usr/bin/python3.11"
user   = "nobody"
uid    = 65534
gid    = 65534

# Where the nodes fetch what `cbs cluster artifacts` gathered.
artifacts_url = "https://artifacts.bank.example/cbs"

postgres   = "postgres.bank.example:5432"
consul_url = "http://127.0.0.1:8500"

# Three servers keep every fact: any one may go, and the other two carry on.
nats_replicas     = 3
nats_volume       = "cbs-nats"
nats_port         = 4222
nats_cluster_port = 6222

gateway_port = 8080

# Of each service that has no `count` here. Sizes are from measurement, with headroom:
# docs/how-to/production.md says what was measured. What is not here is as the service declares it.
instances = 2

services = {
  customers = { cpu = 300, memory = 256 }
  accounts  = { cpu = 300, memory = 256 }
  ledger    = { cpu = 1000, memory = 256 }
  payments  = { cpu = 1000, memory = 256 }
  audit     = { cpu = 400, memory = 256 }
}

nats    = { count = 3, cpu = 500, memory = 512 }
gateway = { count = 2, cpu = 600, memory = 512 }

# After the day's last clearing; verify finds listeners that are behind, and says so.
verify    = { crons = ["30 2 * * *"], cpu = 300, memory = 256 }
backup    = { crons = ["30 3 * * *"], cpu = 300, memory = 256, keep = 7 }
time_zone = "Asia/Kolkata"

# On the node that has the disk for backups, user nobody's. Without it the job of backups is left out.
backup_volume = "cbs-backups"
