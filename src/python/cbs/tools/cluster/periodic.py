"""A periodic job is as well as its last run, which is a job of its own; Nomad forgets old ones."""

from enum import StrEnum
from typing import Any

from cbs.tools.cluster.api import Api
from cbs.tools.local.waiting import wait_until

START_SECONDS_MAX = 30
CHILD = "/periodic-"


class Upkeep(StrEnum):
    """What the operators' command does by itself, at its time."""

    VERIFY = "verify"
    BACKUP = "backup"


class NotStarted(RuntimeError):
    """A periodic job could not be run; the message says why."""


def last_run(nomad: Api, job_id: str) -> str:
    """The id of the newest run that Nomad still knows, "" if there is none."""
    runs = nomad.get("/v1/jobs", prefix=f"{job_id}{CHILD}") or []
    newest = max(runs, key=lambda run: run["SubmitTime"], default=None)
    return str(newest["ID"]) if newest else ""


def state(nomad: Api, job_id: str) -> dict[str, Any]:
    """As `Jobs.state` says it; `run` names the last run."""
    run = last_run(nomad, job_id)
    allocs = (nomad.get(f"/v1/job/{run}/allocations") or []) if run else []
    states = {alloc["ClientStatus"] for alloc in allocs}
    failed = bool(states & {"failed", "lost"})
    said = "waits for its time"
    if states:
        how = "failed" if failed else "went well" if states == {"complete"} else "is under way"
        said = f"its last run {how}"
    return {"job": job_id, "well": not failed, "failed": failed, "said": said, "run": run}


def force(nomad: Api, job_id: str) -> str:
    """Run it now; returns the run's id. Raises NotStarted, and Declined."""
    before = last_run(nomad, job_id)
    if before and _runs(nomad, before):
        raise NotStarted(f"{before} is still under way: two at once are not wanted")
    nomad.post(f"/v1/job/{job_id}/periodic/force", {})

    def new_run() -> str:
        # What Nomad answers is an evaluation that does not know yet of which run it is.
        run = last_run(nomad, job_id)
        return "" if run == before else run

    if run := wait_until(new_run, seconds=START_SECONDS_MAX):
        return run
    raise NotStarted(f"Nomad did not begin a run of {job_id}: see its log")


def _runs(nomad: Api, run: str) -> bool:
    allocs = nomad.get(f"/v1/job/{run}/allocations") or []
    return any(alloc["ClientStatus"] in ("running", "pending") for alloc in allocs)
