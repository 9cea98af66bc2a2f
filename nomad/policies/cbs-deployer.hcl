# Who releases registers versions of the bank's services, promotes and takes back, and sees how
# allocations are; no variable, log, file or shell of a task, no node, no ACL. Nomad gives these rights
# for a namespace and not for a job: whoever may register a service may stop any other service, and one
# that is registered reads the variable of its own name. So this token is kept like those secrets.
namespace "cbs" {
  capabilities = ["list-jobs", "parse-job", "read-job", "submit-job", "dispatch-job"]
}

# What the services stand on is not a release's to change or stop: it begins migrations there.
namespace "cbs-base" {
  capabilities = ["read-job", "dispatch-job"]
}
