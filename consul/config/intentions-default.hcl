# Nobody may call anybody over HTTP, unless a file beside this one says so.
Kind = "service-intentions"
Name = "*"
Sources = [
  {
    Name   = "*"
    Action = "deny"
  }
]
