# Consul takes the word of Nomad for who a workload is: it checks the signature against Nomad's keys.
Name          = "nomad-workloads"
Type          = "jwt"
Description   = "Workloads of Nomad, by their signed identities."
MaxTokenTTL   = "24h0m0s"
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
