"""What a job of the bank runs, as Nomad has it: the package, its commit, and who put it there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cbs.bank import SERVICES
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.namespaces import FORMER, OF_BASE

# In a job's metadata: the release that put it there, and the commit that it was made of.
RELEASE, SHA = "cbs_release", "cbs_sha"
CHECKSUM = "sha256:"
# Another's may begin with cbs-, too.
JOBS = {f"cbs-{each}" for each in (*SERVICES, "gateway")} | {*OF_BASE}
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """`marks` are a release's own; none where `cbs cluster up` has put it there. `stopped` is not
    what was stopped to be moved."""

    url: str
    sha256: str
    sha: str
    marks: Mapping[str, str]
    stopped: bool


def running(nomad: Api, job_id: str) -> Running | None:
    """None of what was never there, or runs from an image; also of what was stopped."""
    job = nomad.get(f"/v1/job/{job_id}")
    moved = job is None
    if moved:
        job = nomad.get(f"/v1/job/{job_id}", namespace=FORMER)
    if job is None:
        return None
    url, sha256 = package_of(job)
    marks = {name: value for name, value in (job["Meta"] or {}).items() if name in (RELEASE, SHA)}
    if not sha256:
        return None
    stopped = job["Stop"] and not moved
    return Running(url=url, sha256=sha256, sha=sha_of(job), marks=marks, stopped=stopped)


def package_of(job: Body) -> tuple[str, str]:
    """URL and SHA-256 of what a job's version runs; two empty strings of one that runs an image."""
    for group in job["TaskGroups"]:
        for task in group["Tasks"]:
            for artifact in task["Artifacts"] or ():
                checksum = (artifact["GetterOptions"] or {}).get("checksum", "")
                if checksum.startswith(CHECKSUM):
                    return artifact["GetterSource"], checksum.removeprefix(CHECKSUM)
    return "", ""


def sha_of(job: Body) -> str:
    """The commit a job's version was made of: as a release notes it, or its services tell it."""
    noted = (job["Meta"] or {}).get(SHA)
    told = [
        (service["Meta"] or {}).get("sha", "")
        for group in job["TaskGroups"]
        for service in group["Services"] or ()
    ]
    return str(noted or next(filter(None, told), ""))


def left_behind(nomad: Api) -> list[str]:
    """Jobs of the bank that go on where all of them were before it had its namespaces."""
    rows = nomad.get("/v1/jobs", prefix="cbs-", namespace=FORMER) or []
    return [row["ID"] for row in rows if not row["Stop"] and row["ID"] in JOBS]
