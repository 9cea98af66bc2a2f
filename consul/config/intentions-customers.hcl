Kind = "service-intentions"
Name = "cbs-customers"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
