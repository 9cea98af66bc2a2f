# A Nomad agent registers itself, and takes away what its allocations registered with tokens of
# their own, which are gone by then.
agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "nomad" {
  policy = "write"
}

service_prefix "cbs-" {
  policy = "write"
}
