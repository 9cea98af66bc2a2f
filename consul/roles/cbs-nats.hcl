Name        = "cbs-nats"
Description = "What the tasks of job cbs-nats may ask Consul."
Policies = [
  {
    Name = "cbs-nats"
  }
]
