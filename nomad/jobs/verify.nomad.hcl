# `cbs verify`, every night: it only reads, as the role that may do nothing else. A violation fails the run.

variable "verify" {
  type = object({
    crons  = list(string)
    cpu    = number
    memory = number
  })
}

variable "time_zone" {
  type        = string
  description = "In which the times of crons are."
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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-verify\"" : "secret \"${var.vault}/cbs-verify\""
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

job "cbs-verify" {
  type        = "batch"
  namespace   = "cbs-base"
  datacenters = var.datacenters
  priority    = 30

  periodic {
    crons            = var.verify.crons
    time_zone        = var.time_zone
    prohibit_overlap = true
  }

  group "verify" {
    # One that failed is looked at by a person: it is not tried again before its next time.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "verify" {
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
        args    = ["${NOMAD_TASK_DIR}/cli.pex", "verify"]
      }

      env {
        CBS_VERIFY_POSTGRES_URL = "postgresql://${var.postgres}"
        PGPASSFILE              = "${NOMAD_SECRETS_DIR}/pgpass"
        PEX_ROOT                = var.pex_root == "" ? "${NOMAD_ALLOC_DIR}/data/pex" : var.pex_root
        HOME                    = "${NOMAD_TASK_DIR}"
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-verify"]

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
        cpu    = var.verify.cpu
        memory = var.verify.memory
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
