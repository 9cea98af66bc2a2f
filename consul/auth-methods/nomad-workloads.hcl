# Consul takes the word of Nomad for who a workload is: it checks the signature against Nomad's keys.
# No MaxTokenTTL: Nomad (1.10) gets a task's token once, and gives it back when the task is gone. With
# one that runs out the gateway is deaf from then on (tried).
Name          = "nomad-workloads"
Type          = "jwt"
Description   = "Workloads of Nomad, by their signed identities."
TokenLocality = "local"
Config = {
  JWKSURL          = "${nomad_url}/.well-known/jwks.json"
  JWTSupportedAlgs = ["RS256"]
  BoundAudiences   = ["consul.io"]
  ClaimMappings = {
    nomad_namespace = "nomad_namespace"
    nomad_job_id    = "nomad_job_id"
    nomad_task      = "nomad_task"
    nomad_service   = "nomad_service"
  }
}
