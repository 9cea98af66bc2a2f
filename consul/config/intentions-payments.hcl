Kind = "service-intentions"
Name = "cbs-payments"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
