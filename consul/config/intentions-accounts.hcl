Kind = "service-intentions"
Name = "cbs-accounts"
Sources = [
  {
    Name   = "cbs-gateway"
    Action = "allow"
  }
]
