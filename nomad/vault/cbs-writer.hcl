# Who runs `cbs cluster up` where Vault's administrators keep roles and policies to themselves.
path "${prefix}/*" {
  capabilities = ["create", "read", "update"]
}

path "${metadata}/*" {
  capabilities = ["read"]
}
