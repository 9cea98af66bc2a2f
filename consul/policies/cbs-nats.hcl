# A NATS server finds the others of its cluster, and nothing else.
service "cbs-nats-cluster" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
