# `cbs backup`, every night: a copy of the whole server, checked. The way to a moment between two copies is
# the server's own archive of its WAL, which nothing here can begin.

variable "backup" {
  type = object({
    crons  = list(string)
    cpu    = number
    memory = number
    keep   = number
  })
}

variable "time_zone" {
  type        = string
  description = "In which the times of crons are."
}

variable "backup_volume" {
  type        = string
  default     = ""
  description = "With exec: the host volume for backups, on the node that has the disk for them."
}

variable "backup_folder" {
  type        = string
  default     = ""
  description = "With raw_exec: a folder for backups, which the user owns."
}

variable "datacenters" {
  type = list(string)
}

variable "driver" {
  type = string
}

variable "python" {
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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-backup\"" : "secret \"${var.vault}/cbs-backup\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "postgres" {
  type        = string
  description = "HOST:PORT of PostgreSQL."
}

variable "artifact_url" {
  type        = string
  description = "Where the nodes fetch the operators' command, cli.pex."
}

variable "artifact_sha256" {
  type = string
}

variable "pex_root" {
  type        = string
  default     = ""
  description = "Where PEXes unpack themselves, for all of a node's; by default each in its own."
}

job "cbs-backup" {
  type        = "batch"
  namespace   = "cbs-base"
  datacenters = var.datacenters
  priority    = 30

  periodic {
    crons            = var.backup.crons
    time_zone        = var.time_zone
    prohibit_overlap = true
  }

  group "backup" {
    # Without a place for backups there are none.
    count = var.backup_volume == "" && var.backup_folder == "" ? 0 : 1

    # One that failed is looked at by a person: it is not tried again before its next time.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    dynamic "volume" {
      for_each = var.backup_volume == "" ? [] : [var.backup_volume]
      labels   = ["backups"]

      content {
        type   = "host"
        source = volume.value
      }
    }

    task "backup" {
      driver       = var.driver
      user         = var.user
      kill_timeout = "20s"

      artifact {
        source      = var.artifact_url
        destination = "local/cli.pex"
        mode        = "file"

        options {
          checksum = "sha256:${var.artifact_sha256}"
          archive  = "false"
        }
      }

      config {
        command = var.python
        args = [
          "${NOMAD_TASK_DIR}/cli.pex", "backup", "--keep", "${var.backup.keep}",
          "--to", var.backup_volume == "" ? var.backup_folder : "/backups",
        ]
      }

      dynamic "volume_mount" {
        for_each = var.backup_volume == "" ? [] : ["backups"]

        content {
          volume      = volume_mount.value
          destination = "/backups"
        }
      }

      env {
        CBS_BACKUP_POSTGRES_URL = "postgresql://${var.postgres}"
        PGPASSFILE              = "${NOMAD_SECRETS_DIR}/pgpass"
        PEX_ROOT                = var.pex_root == "" ? "${NOMAD_ALLOC_DIR}/data/pex" : var.pex_root
        HOME                    = "${NOMAD_TASK_DIR}"
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-backup"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/pgpass"
        data        = "{{ with ${local.secrets} }}{{ index ${local.items} \"pgpass\" }}{{ end }}"
        perms       = "0400"
        uid         = var.uid
        gid         = var.gid
        change_mode = "noop"
      }

      resources {
        cpu    = var.backup.cpu
        memory = var.backup.memory
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
