Kind = "service-intentions"
Name = "cbs-${service}"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
