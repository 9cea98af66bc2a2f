"""Versions of a job on the real Nomad, released as an operator with Nomad's own command would."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cbs.tools.cluster.jobs import Jobs
from tests.availability.bank import Bank, until

Job = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One that was registered; its canary stands beside what was there."""

    bank: Bank
    job_id: str
    sha: str

    @classmethod
    def of(
        cls, bank: Bank, job_id: str, sha: str, change: Callable[[Job], None] = lambda _: None
    ) -> "Version":
        job = bank.nomad.get(f"/v1/job/{job_id}")
        (group,) = job["TaskGroups"]
        for service in group["Services"]:
            service["Meta"]["sha"] = service["CanaryMeta"]["sha"] = sha
        (task,) = group["Tasks"]
        # What only describes a job would be changed in its place, without a canary.
        task["Env"]["CBS_SHA"] = sha
        change(job)
        before = bank.nomad.get(f"/v1/job/{job_id}/deployment")["ID"]
        bank.nomad.post("/v1/jobs", {"Job": job})
        found = cls(bank=bank, job_id=job_id, sha=sha)
        until(lambda: found.deployment["ID"] != before, "no deployment began")
        return found

    @property
    def deployment(self) -> dict[str, Any]:
        return dict(self.bank.nomad.get(f"/v1/job/{self.job_id}/deployment"))

    def canaries(self) -> list[dict[str, Any]]:
        """That run and are healthy."""
        (group,) = self.deployment["TaskGroups"].values()
        placed = set(group["PlacedCanaries"] or ())
        return [
            alloc
            for alloc in self.bank.running(self.job_id)
            if alloc["ID"] in placed and (alloc.get("DeploymentStatus") or {}).get("Healthy")
        ]

    def stands(self) -> dict[str, Any]:
        """The canary, once it is healthy."""
        # Kept from the look that found it: in the next one it may be unwell again.
        found: list[dict[str, Any]] = []

        def stands() -> bool:
            found[:] = self.canaries()
            return bool(found)

        until(stands, f"{self.job_id}: {self.deployment}")
        return found[0]

    def promote(self) -> None:
        """Returns when all run in this version."""
        deployment = self.deployment["ID"]
        self.bank.nomad.put(
            f"/v1/deployment/promote/{deployment}", {"DeploymentID": deployment, "All": True}
        )
        until(lambda: self.deployment["Status"] == "successful", f"{self.deployment}")
        Jobs(nomad=self.bank.nomad, values="", say=lambda _: None).converge([self.job_id])
