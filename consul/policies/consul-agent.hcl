# An agent registers its own node, and looks at services to keep its checks in step.
node_prefix "" {
  policy = "write"
}

service_prefix "" {
  policy = "read"
}
