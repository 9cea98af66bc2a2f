"""A job is parsed and planned by Nomad itself; registered when it differs, and then watched."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.tools.cluster import periodic
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.namespaces import namespace_of
from cbs.tools.local.progress import now_and_then
from cbs.tools.local.waiting import wait_until

ROOT = Path(__file__).parents[5]
FOLDER = ROOT / "nomad" / "jobs"
CONVERGE_SECONDS_MAX, POLL_SECONDS = 300, 0.5
EVENTS_SHOWN, LOG_LINES_SHOWN, LOG_BYTES = 3, 5, 20_000
UNCHANGED, RESTARTS_MAX, OUTPUT_SHOWN = "None", 3, 300
EDGE, SERVERS = "cbs-gateway", ("cbs-postgres", "cbs-nats")


class NotConverged(RuntimeError):
    """A job did not get where it should; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class NomadJob:
    """A job as Nomad parsed it."""

    body: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.body["ID"])

    @property
    def wanted(self) -> bool:
        """A job of which an environment wants none is not registered at all."""
        return any(group["Count"] for group in self.body["TaskGroups"])

    @property
    def lasts(self) -> bool:
        """It runs on from when it is registered: there is something to wait for."""
        return not (self.body.get("ParameterizedJob") or self.body.get("Periodic"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """`values` are an environment's file and what only the moment knows, as text in HCL.

    What Nomad says of health is from when a version came; with `consul` it is how things are now.
    """

    nomad: Api
    values: str
    consul: Api | None = None
    say: Callable[[str], None] = field(default=print)

    def parse(self, name: str, **more: str) -> NomadJob:
        """Raises Declined with Nomad's own words if the file or the values make no sense."""
        body = {
            "JobHCL": (FOLDER / f"{name}.nomad.hcl").read_text(),
            "Variables": self.values + assigned(more),
            "Canonicalize": True,
        }
        return NomadJob(self.nomad.post("/v1/jobs/parse", body))

    def plan(self, job: NomadJob) -> tuple[str, int]:
        """What registering it would change, in a line ("" for nothing), and against which index."""
        body = {"Job": job.body, "Diff": True}
        said = self.nomad.post(f"/v1/job/{job.id}/plan", body)
        diff = said["Diff"]
        if diff["Type"] == UNCHANGED:
            return "", said["JobModifyIndex"]
        failed = said.get("FailedTGAllocs") or {}
        lines = [diff["Type"].lower(), *_updates(said), *_fields(diff)[:4]]
        lines += [f"no place for {group}: {_why(why)}" for group, why in failed.items()]
        return ", ".join(lines), said["JobModifyIndex"]

    def register(self, job: NomadJob, index: int) -> str:
        """The evaluation's id; refused if the job has changed since it was planned."""
        said = self.nomad.post(
            "/v1/jobs", {"Job": job.body, "EnforceIndex": True, "JobModifyIndex": index}
        )
        return str(said["EvalID"])

    def dispatch(self, job_id: str, meta: Mapping[str, str]) -> str:
        """The id of the dispatched job."""
        said = self.nomad.post(f"/v1/job/{job_id}/dispatch", {"Meta": dict(meta)})
        return str(said["DispatchedJobID"])

    def finish(self, job_id: str, seconds: float = CONVERGE_SECONDS_MAX) -> None:
        """Wait until a batch job is done; raises NotConverged when it failed."""

        def ended() -> set[str]:
            allocs = self.nomad.get(f"/v1/job/{job_id}/allocations") or []
            states = {alloc["ClientStatus"] for alloc in allocs}
            return states if states == {"complete"} else states & {"failed", "lost"}

        if wait_until(ended, seconds=seconds, every=POLL_SECONDS) != {"complete"}:
            raise NotConverged(f"{job_id}: {self.wrong_with(job_id)}")

    def converge(self, job_ids: list[str], seconds: float = CONVERGE_SECONDS_MAX) -> None:
        """Wait until all run as they should, telling how far each is; raises NotConverged."""
        began, left, tell = time.monotonic(), list(job_ids), now_and_then(self.say)

        def how_far() -> str:
            now = time.monotonic()
            each = (f"  … {job}: {self.state(job)['said']} ({now - began:.0f} s)" for job in left)
            return "\n".join(each)

        def all_well() -> bool:
            for job_id in list(left):
                state = self.state(job_id)
                if state["well"]:
                    left.remove(job_id)
                    self.say(f"  ✓ {job_id} ({time.monotonic() - began:.1f} s)")
                elif state["failed"]:
                    raise NotConverged(f"{job_id}: {self.wrong_with(job_id)}")
            if left:
                tell(how_far)
            return not left

        if not wait_until(all_well, seconds=seconds, every=POLL_SECONDS):
            raise NotConverged("\n".join(f"{each}: {self.wrong_with(each)}" for each in left))

    def state(self, job_id: str) -> dict[str, Any]:
        """How a job is: well, failed for good, or on its way, and a few words."""
        job = self.nomad.get(f"/v1/job/{job_id}")
        if job is None or job["Stop"]:
            return {"job": job_id, "well": False, "failed": False, "said": "not running"}
        if job["Periodic"]:
            return periodic.state(self.nomad, job_id)
        if job["ParameterizedJob"]:
            return {"job": job_id, "well": True, "failed": False, "said": "waits to be asked"}
        wanted = sum(group["Count"] for group in job["TaskGroups"])
        allocs = [
            alloc
            for alloc in self.nomad.get(f"/v1/job/{job_id}/allocations") or []
            if alloc["DesiredStatus"] == "run" and alloc["JobVersion"] == job["Version"]
        ]
        running = [alloc for alloc in allocs if alloc["ClientStatus"] == "running"]
        deployment = self.nomad.get(f"/v1/job/{job_id}/deployment")
        status = deployment["Status"] if deployment else "successful"
        known = status != "running"
        healthy = [a for a in running if (a["DeploymentStatus"] or {}).get("Healthy", known)]
        canary = bool(deployment) and "promotion" in (deployment["StatusDescription"] or "")
        settled = status in ("successful", "cancelled") or canary
        ready, why = self._ready(job_id, healthy)
        return {
            "job": job_id,
            "well": settled and len(ready) >= (1 if canary else wanted),
            "failed": status == "failed" or any(_keeps_failing(alloc) for alloc in allocs),
            "said": f"{len(ready)} of {wanted} well, deployment {status}"
            f"{': a canary waits to be promoted' if canary else ''}{f': {why}' if why else ''}",
            "version": job["Version"],
        }

    def _ready(self, job_id: str, allocs: list[Any]) -> tuple[list[Any], str]:
        """Those of them that pass every check, and what the first failed one says."""
        if self.consul is None:
            return allocs, ""
        try:
            # A service of the bank is named as its job.
            rows = self.consul.get(f"/v1/health/service/{job_id}") or []
        except (NoCluster, Declined) as error:
            return [], str(error)[:OUTPUT_SHOWN]
        failed = {
            alloc["ID"]: [check for check in row["Checks"] if check["Status"] != "passing"]
            for row in rows
            for alloc in allocs
            if alloc["ID"] in row["Service"]["ID"]
        }
        why = (
            ", ".join(
                filter(None, [f"{check['Name']} is {check['Status']}", _line(check["Output"])])
            )
            for checks in failed.values()
            for check in checks
        )
        return [a for a in allocs if failed.get(a["ID"]) == []], next(why, "")[:OUTPUT_SHOWN]

    def wrong_with(self, job_id: str) -> str:
        """In a sentence: what its newest allocation went through, and the last it wrote."""
        allocs = self.nomad.get(f"/v1/job/{job_id}/allocations") or []
        if not allocs:
            return self._unplaced(job_id)
        newest = max(allocs, key=lambda alloc: alloc["CreateIndex"])
        said = [f"allocation {newest['ID'][:8]} is {newest['ClientStatus']}"]
        for task, state in (newest["TaskStates"] or {}).items():
            events = [event["DisplayMessage"] for event in state["Events"] or ()]
            said += events[-EVENTS_SHOWN:]
            said += self._last_lines(newest["ID"], task, LOG_LINES_SHOWN)
        return "; ".join(line for line in said if line)

    def _unplaced(self, job_id: str) -> str:
        found = self.nomad.get(f"/v1/job/{job_id}/evaluations") or []
        why = [
            f"no place for {group}: {_why(failed)}"
            for evaluation in found
            for group, failed in (evaluation.get("FailedTGAllocs") or {}).items()
        ]
        return "; ".join(sorted(set(why))) or "nothing was started for it"

    def last_lines(self, job_id: str, lines: int) -> list[str]:
        """What the newest allocation wrote last."""
        allocs = self.nomad.get(f"/v1/job/{job_id}/allocations") or []
        newest: dict[str, Any] = max(allocs, key=lambda each: each["CreateIndex"], default={})
        tasks = newest.get("TaskStates") or {}
        return [line for task in tasks for line in self._last_lines(newest["ID"], task, lines)]

    def _last_lines(self, alloc_id: str, task: str, count: int) -> list[str]:
        lines: list[str] = []
        for kind in ("stdout", "stderr"):
            try:
                said = self.nomad.get(
                    f"/v1/client/fs/logs/{alloc_id}",
                    task=task,
                    type=kind,
                    origin="end",
                    offset=LOG_BYTES,
                )
            except Declined:
                continue
            if isinstance(said, dict):
                text = base64.b64decode(said.get("Data", "")).decode(errors="replace")
                lines += text.splitlines()[-count:]
        return lines

    def ours(self, *, dispatched: bool = False) -> list[str]:
        """Every job of the bank that Nomad knows, with those dispatched from one or without."""
        rows = self.nomad.get("/v1/jobs", prefix="cbs-") or []
        ids = [row["ID"] for row in rows if row["Namespace"] == namespace_of(row["ID"])]
        return [each for each in ids if dispatched or "/" not in each]

    def stop_in_order(self, job_ids: list[str], seconds: float, **where: str) -> None:
        """First nobody can come in any more, then the services drain, the servers last."""
        servers = [each for each in job_ids if each in SERVERS]
        edge = [each for each in job_ids if each == EDGE]
        rest = [each for each in job_ids if each not in (*SERVERS, EDGE)]
        for some in (edge, rest, servers):
            self.stop(some, seconds, **where)

    def stop(self, job_ids: list[str], seconds: float, **where: str) -> None:
        """End jobs, and return when none of their allocations runs; raises NotConverged."""
        for job_id in job_ids:
            self.nomad.ask("DELETE", f"/v1/job/{job_id}", **where)
        if not wait_until(lambda: not self._left(job_ids, where), seconds=seconds):
            raise NotConverged(f"still running: {', '.join(self._left(job_ids, where))}")

    def _left(self, job_ids: list[str], where: Mapping[str, str]) -> list[str]:
        return [each for each in job_ids if self.runs(each, **where)]

    def runs(self, job_id: str, **where: str) -> bool:
        allocs = self.nomad.get(f"/v1/job/{job_id}/allocations", **where) or []
        return any(alloc["ClientStatus"] in ("running", "pending") for alloc in allocs)


def _line(text: str) -> str:
    return " ".join(text.split())


def assigned(values: Mapping[str, object]) -> str:
    """Values as lines of HCL: JSON is understood there."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _keeps_failing(alloc: Mapping[str, Any]) -> bool:
    return any(
        state["Restarts"] >= RESTARTS_MAX and state["State"] == "pending"
        for state in (alloc["TaskStates"] or {}).values()
    )


def _updates(said: Mapping[str, Any]) -> Iterator[str]:
    groups = (said.get("Annotations") or {}).get("DesiredTGUpdates") or {}
    for counts in groups.values():
        for what in ("Place", "Canary", "DestructiveUpdate", "InPlaceUpdate", "Stop"):
            if counts.get(what):
                yield f"{counts[what]} {what}"


def _fields(diff: Mapping[str, Any]) -> list[str]:
    """The names of what changes, without the values."""
    if diff["Type"] == "Added":
        return []
    names = [each["Name"] for each in diff.get("Fields") or () if each["Type"] != UNCHANGED]
    for inner in ("TaskGroups", "Tasks", "Objects"):
        for each in diff.get(inner) or ():
            if each["Type"] != UNCHANGED:
                names += _fields(each) or [each["Name"]]
    return names


def _why(failed: Mapping[str, Any]) -> str:
    reasons = [*(failed.get("ConstraintFiltered") or {}), *(failed.get("DimensionExhausted") or {})]
    return ", ".join(reasons) or f"{failed.get('NodesEvaluated', 0)} nodes looked at"
