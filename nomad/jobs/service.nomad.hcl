# A service of the bank: one file for all of them, told apart by var.service.

variable "service" {
  type        = string
  description = "Which: a key of var.services."
}

variable "services" {
  type = map(object({
    count  = number
    cpu    = number
    memory = number
    keys   = list(string)
  }))
  description = "What each needs; keys are secrets beside those that every service has."
}

variable "datacenters" {
  type = list(string)
}

variable "driver" {
  type        = string
  description = "exec isolates; raw_exec does not, and is for one's own machine."
}

variable "python" {
  type        = string
  description = "The Python 3.11 of the nodes, which runs the PEX."
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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-${var.service}\"" : "secret \"${var.vault}/cbs-${var.service}\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "artifact_url" {
  type        = string
  description = "Where the nodes fetch the PEX."
}

variable "artifact_sha256" {
  type = string
}

variable "version" {
  type = string
}

variable "sha" {
  type        = string
  description = "The commit that the PEX was made of."
}

variable "images" {
  type = map(object({
    name   = string
    sha256 = string
  }))
  default     = {}
  description = "Services that run from an image (./cbs images build), each by its digest, not from a PEX."
}

variable "image_driver" {
  type        = string
  default     = "docker"
  description = "What runs an image: docker or podman."
}

variable "postgres" {
  type        = string
  description = "HOST:PORT of PostgreSQL."
}

variable "nats_url" {
  type        = string
  default     = ""
  description = "Where the bus is if Consul knows none: servers of your own, with commas between."
}

variable "nats_replicas" {
  type        = number
  default     = 1
  description = "How many servers of the bus keep each fact: 1, 3 or 5, and no more than there are."
}

variable "log_level" {
  type    = string
  default = "info"
}

variable "healthy_deadline" {
  type    = string
  default = "3m"
}

variable "mesh" {
  type        = bool
  default     = false
  description = "Whether HTTP comes through a sidecar of Consul's mesh alone."
}

variable "sidecar" {
  type = object({
    consul     = string
    envoy      = string
    consul_url = string
    grpc_url   = string
    cpu        = number
    memory     = number
  })
  default = {
    consul     = "/usr/bin/consul"
    envoy      = "/usr/bin/envoy"
    consul_url = "http://127.0.0.1:8500"
    grpc_url   = "http://127.0.0.1:8502"
    cpu        = 100
    memory     = 128
  }
  description = "With mesh: two programs of the node, and where its Consul agent listens."
}

variable "pex_root" {
  type        = string
  default     = ""
  description = "Where PEXes unpack themselves, for all of a node's; by default each in its own."
}

job "service" {
  id          = "cbs-${var.service}"
  name        = "cbs-${var.service}"
  type        = "service"
  namespace   = "cbs"
  datacenters = var.datacenters
  priority    = var.service == "ledger" ? 80 : 70

  # A new version runs beside the old one until it is judged and promoted by hand or by a release.
  update {
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "5s"
    healthy_deadline  = var.healthy_deadline
    progress_deadline = "20m"
    auto_revert       = true
    auto_promote      = false
  }

  spread {
    attribute = "${node.unique.id}"
  }

  group "service" {
    count = var.services[var.service].count

    # Consul forgets the instance first; a caller that has not heard yet is still answered.
    shutdown_delay = "3s"

    restart {
      attempts         = 3
      interval         = "5m"
      delay            = "5s"
      mode             = "fail"
      render_templates = true
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
      healthy_deadline = var.healthy_deadline
    }

    network {
      port "http" {
        # With the mesh nobody but the node itself gets at it.
        host_network = var.mesh ? "loopback" : "default"
      }

      # The mesh's own, and what is told to who watches, without a certificate.
      dynamic "port" {
        for_each = var.mesh ? ["mesh", "ready", "metrics"] : []
        labels   = [port.value]
        content {}
      }
    }

    service {
      name     = "cbs-${var.service}"
      provider = "consul"
      port     = var.mesh ? "mesh" : "http"
      tags     = ["cbs"]

      canary_tags = ["cbs", "canary"]

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
        port     = "http"
        path     = "/health/ready"
        interval = "2s"
        timeout  = "2s"
      }

      dynamic "check" {
        for_each = var.mesh ? ["sidecar"] : []

        content {
          name     = check.value
          type     = "tcp"
          port     = "mesh"
          interval = "2s"
          timeout  = "2s"
        }
      }
    }

    task "service" {
      driver      = contains(keys(var.images), var.service) ? var.image_driver : var.driver
      kill_signal = "SIGTERM"

      # An image may know no such name; and with none it would run as another than reads its secrets.
      user = contains(keys(var.images), var.service) ? "${var.uid}:${var.gid}" : var.user

      # It drains for at most 10 s, and then says goodbye to the bus and the database.
      kill_timeout = "20s"

      dynamic "artifact" {
        for_each = contains(keys(var.images), var.service) ? [] : ["pex"]

        content {
          source      = var.artifact_url
          destination = "local/${var.service}.pex"
          mode        = "file"

          options {
            checksum = "sha256:${var.artifact_sha256}"
            archive  = "false"
          }
        }
      }

      dynamic "config" {
        for_each = contains(keys(var.images), var.service) ? [] : ["pex"]

        content {
          command = var.python
          args    = ["${NOMAD_TASK_DIR}/${var.service}.pex", "serve"]
        }
      }

      dynamic "config" {
        for_each = [for name, image in var.images : image if name == var.service]

        content {
          image           = "${config.value.name}@sha256:${config.value.sha256}"
          args            = ["serve"]
          network_mode    = "host"
          readonly_rootfs = true
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
        }
      }

      env = merge({
        CBS_HTTP_HOST          = "${NOMAD_IP_http}"
        CBS_HTTP_PORT          = "${NOMAD_PORT_http}"
        CBS_POSTGRES_URL       = "postgresql://cbs_${var.service}@${var.postgres}/cbs_${var.service}"
        CBS_NATS_NKEY_FILE     = "${NOMAD_SECRETS_DIR}/nkey"
        CBS_NATS_REPLICAS      = var.nats_replicas
        CBS_JWKS_FILE          = "${NOMAD_SECRETS_DIR}/jwks"
        CBS_SERVICE_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/token"
        CBS_LOG_LEVEL          = var.log_level
        CBS_SHA                = var.sha
        PGPASSFILE             = "${NOMAD_SECRETS_DIR}/pgpass"
        PEX_ROOT               = var.pex_root == "" ? "${NOMAD_ALLOC_DIR}/data/pex" : var.pex_root
        HOME                   = "${NOMAD_TASK_DIR}"
        },
        { for key in var.services[var.service].keys : "CBS_${upper(key)}_KEY_FILE" => "${NOMAD_SECRETS_DIR}/${key}" }
      )

      # Asks Consul, as this job, where the servers of the bus are.
      consul {}

      # Those that are away may be back when they are asked. Of later ones a client hears from those
      # it knows; a task that is started again is told anew.
      template {
        destination = "${NOMAD_SECRETS_DIR}/nats.env"
        env         = true
        change_mode = "noop"
        data        = "CBS_NATS_URL={{ range $i, $_ := service \"cbs-nats|any\" }}{{ if $i }},{{ end }}nats://{{ .Address }}:{{ .Port }}{{ else }}${var.nats_url}{{ end }}"
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-${var.service}"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      # They are read once, at the start: new ones come with the next release.
      dynamic "template" {
        for_each = concat(["jwks", "nkey", "pgpass", "token"], var.services[var.service].keys)

        content {
          destination = "${NOMAD_SECRETS_DIR}/${template.value}"
          data        = "{{ with ${local.secrets} }}{{ index ${local.items} \"${template.value}\" }}{{ end }}"
          perms       = "0400"
          uid         = var.uid
          gid         = var.gid
          change_mode = "noop"
        }
      }

      resources {
        cpu    = var.services[var.service].cpu
        memory = var.services[var.service].memory
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }

    # Envoy of the mesh: it begins before the service and ends after it. Nomad's own sidecars want
    # bridge networks and CNI plugins on every node; this one wants two programs there.
    dynamic "task" {
      for_each = var.mesh ? ["sidecar"] : []
      labels   = [task.value]

      content {
        driver       = var.driver
        user         = var.user
        kill_timeout = "15s"

        lifecycle {
          hook    = "prestart"
          sidecar = true
        }

        # A change of who may call comes as a new listener; the old one closes connections with their
        # next answer, and all of them after a second. Envoy's administration, which shows its token,
        # is at a socket of the task's own.
        config {
          command = "/bin/sh"
          args = ["-c", <<-EOT
            cd "$NOMAD_SECRETS_DIR" &&
            "${var.sidecar.consul}" services register "$NOMAD_TASK_DIR/proxy.json" &&
            exec "${var.sidecar.consul}" connect envoy \
              -proxy-id "cbs-${var.service}-sidecar-proxy-$NOMAD_ALLOC_ID" \
              -envoy-binary "${var.sidecar.envoy}" -ignore-envoy-compatibility -- \
              --config-yaml '{"admin": {"address": {"pipe": {"path": "admin", "mode": 384}}}}' \
              --disable-hot-restart --drain-strategy immediate --drain-time-s 1 \
              --concurrency 1 --log-level warning
          EOT
          ]
        }

        # Its token may register this service and its sidecar, and read where others are.
        consul {}

        env {
          CONSUL_HTTP_ADDR = var.sidecar.consul_url
          CONSUL_GRPC_ADDR = var.sidecar.grpc_url
          HOME             = "${NOMAD_TASK_DIR}"
          TMPDIR           = "${NOMAD_TASK_DIR}"
        }

        # One that was killed could not sign off: Consul does it.
        template {
          destination = "${NOMAD_TASK_DIR}/proxy.json"
          change_mode = "restart"
          data        = <<-EOT
            {
              "service": {
                "kind": "connect-proxy",
                "id": "cbs-${var.service}-sidecar-proxy-{{ env "NOMAD_ALLOC_ID" }}",
                "name": "cbs-${var.service}-sidecar-proxy",
                "address": "{{ env "NOMAD_IP_mesh" }}",
                "port": {{ env "NOMAD_PORT_mesh" }},
                "proxy": {
                  "destination_service_name": "cbs-${var.service}",
                  "local_service_address": "{{ env "NOMAD_IP_http" }}",
                  "local_service_port": {{ env "NOMAD_PORT_http" }},
                  "config": {"bind_address": "{{ env "NOMAD_IP_mesh" }}"},
                  "expose": {
                    "paths": [
                      {
                        "path": "/health/ready",
                        "protocol": "http",
                        "local_path_port": {{ env "NOMAD_PORT_http" }},
                        "listener_port": {{ env "NOMAD_PORT_ready" }}
                      },
                      {
                        "path": "/metrics",
                        "protocol": "http",
                        "local_path_port": {{ env "NOMAD_PORT_http" }},
                        "listener_port": {{ env "NOMAD_PORT_metrics" }}
                      }
                    ]
                  }
                },
                "check": {
                  "name": "sidecar",
                  "tcp": "{{ env "NOMAD_ADDR_mesh" }}",
                  "interval": "10s",
                  "timeout": "2s",
                  "deregister_critical_service_after": "1m"
                }
              }
            }
          EOT
        }

        resources {
          cpu    = var.sidecar.cpu
          memory = var.sidecar.memory
        }

        logs {
          max_files     = 5
          max_file_size = 20
        }
      }
    }
  }
}
