# What a job may do in Vault: read its own secrets, and nothing else.
path "${prefix}/${job}" {
  capabilities = ["read"]
}
