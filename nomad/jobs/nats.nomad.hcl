# The bus. A service's outbox is the source of truth; what JetStream holds can be filled again.

variable "nats" {
  type = object({
    count  = number
    cpu    = number
    memory = number
  })
}

variable "nats_port" {
  type        = number
  description = "Of each server, on its node; 0 for any free one, where servers share a node."
}

variable "nats_cluster_port" {
  type        = number
  default     = 0
  description = "Between the servers, as nats_port."
}

variable "nats_volume" {
  type        = string
  default     = ""
  description = "With exec: the host volume for the streams, on each node that may run a server."
}

variable "nats_folder" {
  type        = string
  default     = ""
  description = "With raw_exec, on one machine: a folder for the streams, which the user owns."
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
  secrets = var.vault == "" ? "nomadVar \"nomad/jobs/cbs-nats\"" : "secret \"${var.vault}/cbs-nats\""
  items   = var.vault == "" ? "." : ".Data.data"
}

variable "nats_artifact_url" {
  type = string
}

variable "nats_artifact_sha256" {
  type = string
}

job "cbs-nats" {
  type        = "service"
  namespace   = "cbs-base"
  datacenters = var.datacenters
  priority    = 90

  # One server after the other, each back in its cluster before the next one leaves.
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "5s"
    healthy_deadline  = "3m"
    progress_deadline = "15m"
    auto_revert       = true
  }

  group "nats" {
    count          = var.nats.count
    shutdown_delay = "2s"

    # On one's own machine, where there is no volume, the servers of a cluster share the node.
    constraint {
      distinct_hosts = var.nats_volume != ""
    }

    # Its streams are on the node: it comes back there.
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

    dynamic "volume" {
      for_each = var.nats_volume == "" ? [] : [var.nats_volume]
      labels   = ["streams"]

      content {
        type   = "host"
        source = volume.value
      }
    }

    network {
      port "client" {
        static = var.nats_port
      }

      port "cluster" {
        static = var.nats_cluster_port
      }

      port "monitor" {}
    }

    service {
      name     = "cbs-nats"
      provider = "consul"
      port     = "client"

      # Well is who follows the leader, and has every stream of its own as new as the others have:
      # only then the next one leaves.
      check {
        name     = "ready"
        type     = "http"
        port     = "monitor"
        path     = "/healthz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    service {
      name     = "cbs-nats-cluster"
      provider = "consul"
      port     = "cluster"
    }

    task "nats" {
      driver = var.driver
      user   = var.user

      # SIGUSR2 is lame duck mode: clients are sent to the other servers over half a minute.
      kill_signal  = var.nats.count > 1 ? "SIGUSR2" : "SIGTERM"
      kill_timeout = "45s"

      artifact {
        source      = var.nats_artifact_url
        destination = "local/nats-server"
        mode        = "file"

        options {
          checksum = "sha256:${var.nats_artifact_sha256}"
          archive  = "false"
        }
      }

      config {
        command = "${NOMAD_TASK_DIR}/nats-server"
        args    = ["--config", "${NOMAD_SECRETS_DIR}/nats.conf"]
      }

      # Asks Consul, as this job, where the others of the cluster are.
      consul {}

      dynamic "volume_mount" {
        for_each = var.nats_volume == "" ? [] : ["streams"]

        content {
          volume      = volume_mount.value
          destination = "/streams"
        }
      }

      # The token opens the templates' secrets; the task never has it.
      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-nats"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      # Users' public keys and what each may do come from the secrets; nobody's seed does. While a
      # release is under way, Consul says which version of a service gets how much of what it is asked
      # (docs/decisions/0011); what makes no sense there maps nothing to a canary.
      template {
        destination   = "${NOMAD_SECRETS_DIR}/nats.conf"
        perms         = "0400"
        uid           = var.uid
        gid           = var.gid
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "1s"

        # Nomad's own patience is 5 s and more, in which a bad canary would be asked.
        wait {
          min = "500ms"
          max = "2s"
        }

        data = <<-EOT
          {{- /* The name is where the streams are: by it the others know what it has. */}}
          server_name: "%{if var.nats_volume == ""}nats-{{ env "NOMAD_ALLOC_INDEX" }}%{else}{{ env "node.unique.name" }}%{endif}"
          host: {{ env "NOMAD_IP_client" }}
          port: {{ env "NOMAD_PORT_client" }}
          http: {{ env "NOMAD_ADDR_monitor" }}
          max_payload: 1048576
          write_deadline: "10s"
          ping_interval: "2s"
          ping_max: 3
          lame_duck_duration: "30s"
          lame_duck_grace_period: "1s"
          jetstream {
            store_dir: "${var.nats_volume == "" ? var.nats_folder : "/streams"}%{if var.nats_volume == "" && var.nats.count > 1}/{{ env "NOMAD_ALLOC_INDEX" }}%{endif}"
            max_memory_store: 268435456
            max_file_store: 68719476736
          }
          {{ with ${local.secrets} }}
          {{- $bank := ${local.items} }}
          accounts: {
            BANK: {
              jetstream: enabled
              users: {{ $bank.users }}
              mappings: {
                {{- range $service, $route := tree "cbs/routes" | byKey }}
                {{- with index $route "stable" }}
                {{- if regexMatch "^[0-9A-Za-z_-]{1,64}$" .Value }}
                {{- $to := printf "cbs.%s.{{wildcard(1)}}.on" $service }}
                {{- $stable := printf "%s.%s" $to .Value }}
                {{- $canary := "" }}
                {{- with index $route "canary" }}
                {{- if regexMatch "^[0-9A-Za-z_-]{1,64}$" .Value }}
                {{- $canary = printf "%s.%s" $to .Value }}
                {{- end }}
                {{- end }}
                {{- $percent := 0 }}
                {{- with index $route "canary-percent" }}
                {{- if regexMatch "^[1-9][0-9]?$" .Value }}
                {{- $percent = .Value | parseInt }}
                {{- end }}
                {{- end }}
                "cbs.{{ $service }}.*": [
                  {{- if and $canary $percent }}
                  { destination: "{{ $stable }}", weight: {{ subtract $percent 100 }}% }
                  { destination: "{{ $canary }}", weight: {{ $percent }}% }
                  {{- else }}
                  { destination: "{{ $stable }}", weight: 100% }
                  {{- end }}
                ]
                "cbs.{{ $service }}.*.again": [{ destination: "{{ $stable }}", weight: 100% }]
                {{- end }}
                {{- end }}
                {{- end }}
              }
            }
          }
          %{~if var.nats.count > 1}
          cluster {
            name: cbs
            listen: {{ env "NOMAD_ADDR_cluster" }}
            authorization {
              user: cluster
              password: "{{ $bank.cluster_password }}"
            }
            {{- /* Itself always: JetStream does not begin without a route, and Consul may not know. */}}
            routes: [
              "nats://cluster:{{ $bank.cluster_password }}@{{ env "NOMAD_ADDR_cluster" }}"
              {{- range service "cbs-nats-cluster|any" }}
              {{- if ne (printf "%s:%d" .Address .Port) (env "NOMAD_ADDR_cluster") }}
              "nats://cluster:{{ $bank.cluster_password }}@{{ .Address }}:{{ .Port }}"
              {{- end }}
              {{- end }}
            ]
          }
          %{~endif}
          {{ end }}
        EOT
      }

      resources {
        cpu    = var.nats.cpu
        memory = var.nats.memory
      }

      logs {
        max_files     = 5
        max_file_size = 20
      }
    }
  }
}
