# Migrates the database of one service, as the role that owns it: dispatched before a release of it.

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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-migrate\"" : "secret \"${var.vault}/cbs-migrate\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "postgres" {
  type        = string
  description = "HOST:PORT of PostgreSQL."
}

variable "pex_root" {
  type        = string
  default     = ""
  description = "Where PEXes unpack themselves, for all of a node's; by default each in its own."
}

job "cbs-migrate" {
  type        = "batch"
  namespace   = "cbs-base"
  datacenters = var.datacenters
  priority    = 75

  parameterized {
    payload       = "forbidden"
    meta_required = ["service", "artifact_url", "artifact_sha256"]
    meta_optional = ["sha"]
  }

  group "migrate" {
    # One that failed is looked at by a person: it is not tried again by itself.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "migrate" {
      driver       = var.driver
      user         = var.user
      kill_timeout = "20s"

      artifact {
        source      = "${NOMAD_META_artifact_url}"
        destination = "local/service.pex"
        mode        = "file"

        options {
          checksum = "sha256:${NOMAD_META_artifact_sha256}"
          archive  = "false"
        }
      }

      config {
        command = var.python
        args    = ["${NOMAD_TASK_DIR}/service.pex", "migrate"]
      }

      # A migration asks only the database; what else a service wants to be told is nothing here.
      # Versions of customers up to 66ce025 want a vault's key, too.
      env {
        CBS_VAULT_KEY_FILE = "/dev/null"
        CBS_POSTGRES_URL   = "postgresql://cbs_${NOMAD_META_service}_owner@${var.postgres}/cbs_${NOMAD_META_service}"
        CBS_NATS_URL       = "nats://nobody.invalid"
        CBS_JWKS_FILE      = "/dev/null"
        CBS_SHA            = "${NOMAD_META_sha}"
        PGPASSFILE         = "${NOMAD_SECRETS_DIR}/pgpass"
        PEX_ROOT           = var.pex_root == "" ? "${NOMAD_ALLOC_DIR}/data/pex" : var.pex_root
        HOME               = "${NOMAD_TASK_DIR}"
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-migrate"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/pgpass"
        data        = "{{ with ${local.secrets} }}{{ index ${local.items} (env \"NOMAD_META_service\") }}{{ end }}"
        perms       = "0400"
        uid         = var.uid
        gid         = var.gid
        change_mode = "noop"
      }

      resources {
        cpu    = 100
        memory = 300
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
