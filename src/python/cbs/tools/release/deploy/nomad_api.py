"""Nomad as a release needs it: a job's versions, its deployment, and the allocations of a version.

What marks a version as ours is in the job's own metadata, so Nomad is the only witness of how far a
release got there; nothing is remembered here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.running import RELEASE, sha_of
from cbs.tools.release.deploy.metrics_samples import InstanceUrls
from cbs.tools.release.deploy.steps import CannotGoOn

NOT_FOUND = 404
TAG, TAGS_MAX = "good-", 8
EVENTS_SHOWN = 3
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NomadApi:
    api: Api

    def ask(self, method: str, path: str, body: object = None, **query: str | int) -> Any:
        """The answer; None for a 404. Raises CannotGoOn with Nomad's own words."""
        try:
            return self.api.ask(method, path, body, **query)
        except Declined as error:
            if error.status == NOT_FOUND:
                return None
            raise CannotGoOn(f"Nomad refuses: {error}; mend that, then --resume") from None
        except NoCluster as error:
            raise CannotGoOn(f"{error}; then --resume") from None

    def job(self, job_id: str) -> Any:
        """None if there is none, or if it was stopped."""
        found = self.ask("GET", f"/v1/job/{job_id}")
        return None if found is None or found["Stop"] else found

    def versions(self, job_id: str) -> list[Any]:
        """Newest first."""
        found = self.ask("GET", f"/v1/job/{job_id}/versions")
        return list(found["Versions"]) if found else []

    def version_of(self, job_id: str, release: str) -> Any:
        """The version that was registered for a release; None if none was, or Nomad forgot it. The
        oldest of them: going back to it later made another."""
        ours = [v for v in self.versions(job_id) if (v["Meta"] or {}).get(RELEASE) == release]
        return ours[-1] if ours else None

    def keep_good(self, job_id: str) -> None:
        """Nomad forgets all but the last few versions of a job, however they were: the one that is
        well gets a tag, by which it is kept, and the oldest tags beyond TAGS_MAX go."""
        versions = self.versions(job_id)
        good = next((each for each in versions if each["Stable"]), None)
        if good is None:
            return
        if not good.get("VersionTag"):
            what = {"Version": good["Version"], "Description": f"ran well: {sha_of(good)}"}
            place = f"/v1/job/{job_id}/versions/{TAG}{good['Version']}/tag"
            self.ask("PUT", place, what)
        names = [(each.get("VersionTag") or {}).get("Name", "") for each in versions]
        for name in [each for each in names if each.startswith(TAG)][TAGS_MAX:]:
            self.ask("DELETE", f"/v1/job/{job_id}/versions/{name}/tag")

    def deployment(self, job_id: str, job: Body) -> Any:
        """Of one version of a job; None before its evaluation."""
        found = self.ask("GET", f"/v1/job/{job_id}/deployments", all="true") or []
        ours = [
            each
            for each in found
            if (each["JobVersion"], each["JobCreateIndex"]) == (job["Version"], job["CreateIndex"])
        ]
        return max(ours, key=lambda each: each["CreateIndex"], default=None)

    def allocations(self, job_id: str) -> list[Any]:
        """Those that should run."""
        found = self.ask("GET", f"/v1/job/{job_id}/allocations") or []
        return [each for each in found if each["DesiredStatus"] == "run"]

    def places(self, allocations: Sequence[Body]) -> tuple[InstanceUrls, ...]:
        """Where those that run tell of themselves: their port `http`, or what a sidecar gives."""
        found = []
        for each in allocations:
            if each["ClientStatus"] == "running":
                whole = self.ask("GET", f"/v1/allocation/{each['ID']}")
                shared = (whole or {}).get("AllocatedResources") or {}
                ports = (shared.get("Shared") or {}).get("Ports") or []
                at = {p["Label"]: f"http://{p['HostIP']}:{p['Value']}" for p in ports}
                if "http" in at:
                    found.append(
                        InstanceUrls(*(at.get(name, at["http"]) for name in InstanceUrls._fields))
                    )
        return tuple(found)

    def wrong_with(self, job_id: str, job: Body) -> str:
        """The last that happened to the allocations of a version, "" if nothing tells."""
        found = self.ask("GET", f"/v1/job/{job_id}/allocations", all="true") or []
        ours = [each for each in found if each["JobVersion"] == job["Version"]]
        if not ours:
            return ""
        newest = max(ours, key=lambda each: each["CreateIndex"])
        events = [
            event["DisplayMessage"]
            for state in (newest["TaskStates"] or {}).values()
            for event in state["Events"] or ()
        ]
        told = "; ".join(each for each in events[-EVENTS_SHOWN:] if each)
        return f"allocation {newest['ID'][:8]} is {newest['ClientStatus']}: {told}"


def restarts_of(allocations: Sequence[Body]) -> int:
    return sum(
        state["Restarts"] for each in allocations for state in (each["TaskStates"] or {}).values()
    )


def is_healthy(deployment: Body) -> bool:
    """Its canaries are, or all that it wants if it has none."""
    return all(
        group["HealthyAllocs"] >= (group["DesiredCanaries"] or group["DesiredTotal"])
        for group in deployment["TaskGroups"].values()
    )


def is_unhealthy(deployment: Body) -> bool:
    return any(group["UnhealthyAllocs"] for group in deployment["TaskGroups"].values())


def waits_for_promotion(deployment: Body) -> bool:
    return any(
        group["DesiredCanaries"] and not group["Promoted"]
        for group in deployment["TaskGroups"].values()
    )
