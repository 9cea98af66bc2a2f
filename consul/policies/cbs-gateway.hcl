# The gateway follows where the bank's services are, and how much of a route goes where.
service_prefix "cbs-" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "cbs/routes/" {
  policy = "read"
}

# Its certificate of the mesh is had by whoever may write the service that it is.
service "cbs-gateway" {
  policy = "write"
}
