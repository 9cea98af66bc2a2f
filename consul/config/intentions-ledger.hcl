Kind = "service-intentions"
Name = "cbs-ledger"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
