# A service finds the servers of the bus, and nothing else.
service "cbs-nats" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
