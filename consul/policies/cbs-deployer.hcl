# Who releases sees where the bank's services are and in which version, and weighs their routes.
service_prefix "cbs-" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "cbs/routes/" {
  policy = "write"
}
