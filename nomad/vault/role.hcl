# Who may log in for a job's policy: a task of which Nomad says, signed, that it is of this job.
role_type               = "jwt"
bound_audiences         = ["vault.io"]
bound_claims_type       = "string"
bound_claims            = { nomad_namespace = "${namespace}", nomad_job_id = "${job}" }
user_claim              = "/nomad_job_id"
user_claim_json_pointer = true
token_type              = "service"
token_policies          = ["${job}"]
token_period            = 1800
