# The public edge: Envoy, and beside it the process that tells it where Consul says services are.

variable "gateway" {
  type = object({
    count  = number
    cpu    = number
    memory = number
  })
}

variable "gateway_port" {
  type        = number
  description = "0: any that is free, which is found in Consul, and then more than one fits a node."
}

variable "consul_url" {
  type        = string
  description = "The Consul agent of the node itself."
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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-gateway\"" : "secret \"${var.vault}/cbs-gateway\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "artifact_url" {
  type = string
}

variable "artifact_sha256" {
  type = string
}

variable "version" {
  type = string
}

variable "sha" {
  type = string
}

variable "mesh" {
  type        = bool
  default     = false
  description = "Whether services are asked through sidecars of Consul's mesh."
}

variable "pex_root" {
  type        = string
  default     = ""
  description = "Where PEXes unpack themselves, for all of a node's; by default each in its own."
}

job "cbs-gateway" {
  type        = "service"
  namespace   = "cbs"
  datacenters = var.datacenters
  priority    = 80

  # A port that is the node's the old one leaves before the new one comes, node after node; where
  # any will do, a new version runs beside the old until it is judged and promoted.
  update {
    canary            = var.gateway_port == 0 ? 1 : 0
    auto_promote      = false
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "5s"
    healthy_deadline  = "3m"
    progress_deadline = "15m"
    auto_revert       = true
  }

  spread {
    attribute = "${node.unique.id}"
  }

  group "gateway" {
    count = var.gateway.count

    # The load balancer before it looks at readiness in Consul.
    shutdown_delay = "3s"

    constraint {
      operator = "distinct_hosts"
      value    = var.gateway_port == 0 ? "false" : "true"
    }

    restart {
      attempts = 3
      interval = "5m"
      delay    = "5s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "2m"
      unlimited      = true
    }

    migrate {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "5s"
      healthy_deadline = "3m"
    }

    network {
      port "http" {
        static = var.gateway_port
      }

      port "admin" {}
      port "health" {}
    }

    service {
      name     = "cbs-gateway"
      provider = "consul"
      port     = "http"

      meta {
        version    = var.version
        sha        = var.sha
        pex_sha256 = var.artifact_sha256
      }

      canary_meta {
        version    = var.version
        sha        = var.sha
        pex_sha256 = var.artifact_sha256
        canary     = "true"
      }

      check {
        name     = "ready"
        type     = "http"
        port     = "health"
        path     = "/health/ready"
        interval = "2s"
        timeout  = "2s"
      }
    }

    task "gateway" {
      driver      = var.driver
      user        = var.user
      kill_signal = "SIGTERM"

      # It drains for at most 20 s, then ends Envoy.
      kill_timeout = "30s"

      artifact {
        source      = var.artifact_url
        destination = "local/gateway.pex"
        mode        = "file"

        options {
          checksum = "sha256:${var.artifact_sha256}"
          archive  = "false"
        }
      }

      config {
        command = var.python
        args    = ["${NOMAD_TASK_DIR}/gateway.pex", "serve"]
      }

      # Its role may read where the bank's services are, and the weights of its routes.
      consul {}

      env {
        CBS_HTTP_HOST         = "${NOMAD_IP_http}"
        CBS_HTTP_PORT         = "${NOMAD_PORT_http}"
        CBS_ADMIN_PORT        = "${NOMAD_PORT_admin}"
        CBS_HEALTH_PORT       = "${NOMAD_PORT_health}"
        CBS_JWKS_FILE         = "${NOMAD_SECRETS_DIR}/jwks"
        CBS_GATEWAY_FOLDER    = "${NOMAD_ALLOC_DIR}/data/gateway"
        CBS_CONSUL_URL        = var.consul_url
        CBS_CONSUL_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/consul"
        CBS_MESH_NAME         = var.mesh ? "cbs-gateway" : ""
        PEX_ROOT              = var.pex_root == "" ? "${NOMAD_ALLOC_DIR}/data/pex" : var.pex_root
        HOME                  = "${NOMAD_TASK_DIR}"
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-gateway"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/jwks"
        data        = "{{ with ${local.secrets} }}{{ index ${local.items} \"jwks\" }}{{ end }}"
        perms       = "0400"
        uid         = var.uid
        gid         = var.gid
        change_mode = "noop"
      }

      # Nomad's own file of the token is root's; the gateway's is the gateway's.
      template {
        destination = "${NOMAD_SECRETS_DIR}/consul"
        data        = "{{ env \"CONSUL_HTTP_TOKEN\" }}"
        perms       = "0400"
        uid         = var.uid
        gid         = var.gid
        change_mode = "noop"
      }

      resources {
        cpu    = var.gateway.cpu
        memory = var.gateway.memory
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
