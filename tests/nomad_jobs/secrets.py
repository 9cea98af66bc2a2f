"""A job's secrets come from one place, its own, of the two where an environment may keep them."""

import json
import re
from collections.abc import Iterator

from tests.nomad_jobs.declared import labelled, read
from tests.nomad_jobs.rules import READS_SECRETS, Block, blocks, tasks

OPENED = re.compile(r"\bwith \$\{local\.secrets\}")
LOCALS = {
    "secrets": r'''${var.vault == "" ? "nomadVar \"nomad/jobs/%s\""'''
    r""" : "secret \"${var.vault}/%s\""}""",
    "items": '${var.vault == "" ? "." : ".Data.data"}',
}
# Without these the task itself could read as its job, or would be started anew for a new token.
KEPT = {"env": False, "disable_file": True, "change_mode": "noop"}


def of_job(path: str, text: str) -> Iterator[str]:
    file = read(text)
    for name, job in labelled(file["job"]).items():
        job_id = str(job.get("id", name))
        (said,) = file.get("locals") or [{}]
        for local, wanted in LOCALS.items():
            if said.get(local) != wanted.replace("%s", job_id):
                yield f"{path}: local.{local} does not lead to what is {job_id}'s own"
        for task_name, task in tasks(job):
            yield from (f"{path}, task {task_name}: {each}" for each in _of_task(task, job_id))


def _of_task(task: Block, job_id: str) -> Iterator[str]:
    read_by = [t for t in blocks(task, "template") if READS_SECRETS.search(str(t.get("data")))]
    for template in read_by:
        opened, *more = OPENED.findall(str(template["data"])) or [""]
        if not opened or more or re.search(r'nomadVar|secret \\?"', str(template["data"])):
            yield "a template does not read from local.secrets: an environment cannot choose"
    if "vault" in task:
        yield "it wants a Vault where an environment has none"
    dynamic = [each["vault"] for each in task.get("dynamic", []) if "vault" in each]
    if not read_by and dynamic:
        yield "it has a token of Vault and reads no secret"
    if read_by and not dynamic:
        yield "it reads secrets and, where there is a Vault, may not: vault"
    for each in dynamic:
        if each.get("for_each") != f'${{var.vault == "" ? [] : ["{job_id}"]}}':
            yield "its vault is not of var.vault, for its own job"
        for block in each["content"]:
            if block.get("role") != "${vault.value}":
                yield f"its role in Vault is not {job_id}"
            for name, wanted in KEPT.items():
                if block.get(name) != wanted:
                    yield f"its token of Vault is not kept from it: {name} = {json.dumps(wanted)}"


def of_vault(files: dict[str, str]) -> Iterator[str]:
    """Offences of all of nomad/vault: who may log in for what, and may what."""
    policy, role, writer = (read(files[f"nomad/vault/{name}.hcl"]) for name in FILES)
    if policy != {"path": [{"${prefix}/${job}": {"capabilities": ["read"]}}]}:
        yield "policy: a job may do more than read what is its own"
    if role["bound_claims"] != {"nomad_namespace": "${namespace}", "nomad_job_id": "${job}"}:
        yield "role: it is not bound to one job"
    if role["bound_claims_type"] != "string":
        yield "role: another job's name may match"
    if role["bound_audiences"] != ["vault.io"]:
        yield "role: an identity for somebody else will do"
    if role["token_policies"] != ["${job}"]:
        yield "role: it gives another's policy"
    for path, rule in labelled(writer["path"]).items():
        if not re.fullmatch(r"\$\{(prefix|metadata)\}/\*", path):
            yield f"cbs-writer: it may touch {path}"
        if {*rule["capabilities"]} - {"create", "read", "update"}:
            yield "cbs-writer: it may do more than write and look"
    for path in files.keys() - {f"nomad/vault/{name}.hcl" for name in FILES}:
        yield f"{path}: nobody reads it"


FILES = ("policy", "role", "cbs-writer")
