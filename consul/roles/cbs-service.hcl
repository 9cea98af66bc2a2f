Name        = "cbs-service"
Description = "What the tasks of a service of the bank may ask Consul."
Policies = [
  {
    Name = "cbs-service"
  }
]
