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
  datacenters = var.datacenters

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

      template {
        destination = "${NOMAD_SECRETS_DIR}/pgpass"
        data        = "{{ with nomadVar \"nomad/jobs/cbs-verify\" }}{{ .pgpass }}{{ end }}"
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
