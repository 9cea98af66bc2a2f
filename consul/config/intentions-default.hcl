# Nobody may call anybody over HTTP, unless intentions.hcl says so.
Kind = "service-intentions"
Name = "*"
Sources = [
  {
    Name   = "*"
    Action = "deny"
  }
]
