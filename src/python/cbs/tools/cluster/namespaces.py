"""The bank lies in two namespaces of Nomad, because Nomad gives rights for no less than one.

What releases replace is in `cbs`. What that stands on, and no release may stop, is in `cbs-base`.
"""

import re

RELEASED, BASE = "cbs", "cbs-base"
DESCRIPTIONS = {
    RELEASED: "The bank's services and its gateway.",
    BASE: "What the bank stands on: NATS, PostgreSQL, migrations, upkeep.",
}
# Where all of the bank was before it had its own.
FORMER = "default"
OF_BASE = ("cbs-nats", "cbs-postgres", "cbs-migrate", "cbs-verify", "cbs-backup")
NAMED = re.compile(r"/v1/(?:job|var/nomad/jobs)/([\w-]+)")
LIST, DEPLOYMENT, PARSE = "/v1/jobs", "/v1/deployment/", "/v1/jobs/parse"


def namespace_of(job_id: str) -> str:
    """Of a job of the bank, or of a run of one."""
    return BASE if job_id.partition("/")[0] in OF_BASE else RELEASED


def scope(method: str, path: str) -> dict[str, str]:
    """Where Nomad is to look for what a path names; nothing where the body tells, or an id does."""
    if named := NAMED.match(path):
        return {"namespace": namespace_of(named[1])}
    if path == LIST and method == "GET":
        return {"namespace": "*"}
    if path == PARSE or path.startswith(DEPLOYMENT):
        return {"namespace": RELEASED}
    return {}
