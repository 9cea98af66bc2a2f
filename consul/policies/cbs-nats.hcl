# A NATS server finds the others of its cluster, and the weights of canaries; nothing else.
service "cbs-nats-cluster" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "cbs/routes/" {
  policy = "read"
}
