Name        = "cbs-gateway"
Description = "What the tasks of job cbs-gateway may ask Consul."
Policies = [
  {
    Name = "cbs-gateway"
  }
]
