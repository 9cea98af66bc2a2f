Kind = "service-intentions"
Name = "cbs-audit"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
