# Who releases registers versions of jobs, dispatches migrations, promotes and takes back, and sees
# how allocations are; no variable, log, file or shell of a task, no node, no ACL. Nomad gives these
# rights for a namespace and not for a job: whoever may register any job may stop any, and one that
# is registered reads the variable of its own name. So this token is kept like those secrets.
namespace "default" {
  capabilities = ["list-jobs", "parse-job", "read-job", "submit-job", "dispatch-job"]
}
