"""On Nomad a release is one version of a job, marked with its id; its deployment has the canary."""

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.tools.local.waiting import wait_until
from cbs.tools.release.deploy.nomad_api import RELEASE, SHA, NomadApi, sha_of
from cbs.tools.release.deploy.releases import Release
from cbs.tools.release.deploy.routes import Routes
from cbs.tools.release.deploy.steps import Canary, CanaryState, CannotGoOn, StepFailed

MIGRATE = "cbs-migrate"
CONVERGE_SECONDS_MAX, MIGRATE_SECONDS_MAX, POLL_SECONDS = 600.0, 3_600.0, 0.5
OVER = ("failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nomad:
    """`folder` is what `artifacts_url` serves. `text` gives the job's file as the release's commit
    has it, and `values` the environment's, both in HCL; `version` is told to the job. What runs
    from `images` there is not released from here."""

    api: NomadApi
    folder: Path
    artifacts_url: str
    text: Callable[[Release], str]
    values: str
    version_name: str
    migrates: bool = True
    images: Collection[str] = ()
    routes: Routes = field(default_factory=Routes)

    def version(self, application: str) -> str:
        if application in self.images:
            raise CannotGoOn(
                f"{application} runs from an image there, and a release brings a PEX: build and"
                " push the image, name its digest in `images` of the values, and ./cbs cluster up"
            )
        job_id = job_of(application)
        stable = next((each for each in self.api.versions(job_id) if each["Stable"]), None)
        job = self.api.job(job_id)
        return "" if job is None else sha_of(stable or job)

    def upload(self, release: Release, pex: Path, sha256: str) -> str:
        name = f"{release.application}-{sha256}.pex"
        kept = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not kept.exists():
                part = kept.with_name(f".{name}.part")
                shutil.copyfile(pex, part)
                part.chmod(0o644)
                part.rename(kept)
        except OSError as error:
            raise CannotGoOn(f"{self.folder} does not take the artifact: {error}") from None
        return f"{self.artifacts_url.rstrip('/')}/{name}"

    def migrate(self, release: Release) -> str:
        if not self.migrates:
            return f"{release.application} has no database"
        meta = {
            "service": release.application,
            "artifact_url": release.fact("artifact_url"),
            "artifact_sha256": release.fact("pex_sha256"),
            "sha": release.version,
        }
        # The token makes a second dispatch the first one.
        sent = self.api.ask(
            "POST", f"/v1/job/{MIGRATE}/dispatch", {"Meta": meta}, idempotency_token=release.id
        )
        if sent is None:
            raise CannotGoOn(f"Nomad has no job {MIGRATE}: ./cbs cluster up registers it")
        job_id = sent["DispatchedJobID"]

        def is_complete() -> bool:
            allocs = self.api.ask("GET", f"/v1/job/{job_id}/allocations") or []
            states = {each["ClientStatus"] for each in allocs}
            if states & {"failed", "lost"}:
                raise StepFailed(
                    f"{job_id} failed: nomad alloc logs {allocs[0]['ID'][:8]} tells why"
                )
            return states == {"complete"}

        if wait_until(is_complete, seconds=MIGRATE_SECONDS_MAX, every=POLL_SECONDS):
            return f"{job_id} is complete"
        raise CannotGoOn(f"{job_id} is not done after {MIGRATE_SECONDS_MAX:.0f} s: see after it")

    def before(self, release: Release) -> dict[str, str]:
        return self.routes.before(release)

    def start_canary(self, release: Release) -> str:
        share = self.routes.open(release)
        return f"{self._registered(release)}; {share}"

    def _registered(self, release: Release) -> str:
        job_id = job_of(release.application)
        if (ours := self.api.version_of(job_id, release.id)) is not None:
            return f"version {ours['Version']} of {job_id} is there already"
        job = self._parsed(release)
        if job["ID"] != job_id:
            raise CannotGoOn(f"the job's file names {job['ID']}, and {job_id} is to be released")
        job["Meta"] = {**(job["Meta"] or {}), RELEASE: release.id, SHA: release.version}
        there = self.api.ask("GET", f"/v1/job/{job_id}")
        index = there["JobModifyIndex"] if there else 0
        # Refused if somebody else has changed it since.
        body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": index}
        self.api.ask("POST", "/v1/jobs", body)
        return f"version {self._ours(release)['Version']} of {job_id} is registered"

    def canary(self, release: Release) -> Canary:
        job_id, job = job_of(release.application), self._ours(release)
        deployment = self.api.deployment(job_id, job)
        allocs = self.api.allocations(job_id)
        canaries = [each for each in allocs if each["JobVersion"] == job["Version"]]
        stable = [each for each in allocs if each["JobVersion"] != job["Version"]]
        state, why = CanaryState.STARTING, ""
        if deployment is not None and deployment["Status"] in OVER:
            state = CanaryState.FAILED
            why = f"{deployment['StatusDescription']}; {self.api.wrong_with(job_id, job)}"
        elif deployment is not None and _unhealthy(deployment):
            # Nomad would start it elsewhere again and again, until its progress deadline.
            state = CanaryState.FAILED
            why = f"it did not become healthy in time; {self.api.wrong_with(job_id, job)}"
        elif deployment is not None and _healthy(deployment):
            state = CanaryState.HEALTHY
        return Canary(
            state=state,
            why=why,
            canaries=self.api.places(canaries),
            stable=self.api.places(stable),
        )

    def promote(self, release: Release) -> str:
        # First: the bus would go on to send most calls to a version that is about to leave.
        self.routes.close(release)
        job_id, job = job_of(release.application), self._ours(release)

        def is_alone() -> bool:
            deployment = self.api.deployment(job_id, job)
            status = deployment["Status"] if deployment else ""
            if status in OVER:
                why = self.api.wrong_with(job_id, job)
                raise StepFailed(f"{deployment['StatusDescription']}; {why}")
            if status == "running" and _waits(deployment) and _healthy(deployment):
                body = {"DeploymentID": deployment["ID"], "All": True}
                self.api.ask("PUT", f"/v1/deployment/promote/{deployment['ID']}", body)
            return bool(status == "successful")

        if wait_until(is_alone, seconds=CONVERGE_SECONDS_MAX, every=POLL_SECONDS):
            return f"version {job['Version']} of {job_id} runs alone"
        raise CannotGoOn(f"{job_id} did not converge in {CONVERGE_SECONDS_MAX:.0f} s: --resume")

    def revert(self, release: Release) -> str:
        self.routes.starve(release)
        said = self._reverted(release)
        self.routes.close(release)
        return said

    def _reverted(self, release: Release) -> str:
        job_id = job_of(release.application)
        job = self.api.version_of(job_id, release.id)
        if job is None:
            return f"{job_id} had no version of this release"
        deployment = self.api.deployment(job_id, job)
        if deployment is not None and deployment["Status"] not in (*OVER, "successful"):
            self.api.ask("PUT", f"/v1/deployment/fail/{deployment['ID']}")
        return self._gone_back(release, job)

    def _gone_back(self, release: Release, job: Mapping[str, Any]) -> str:
        """Nomad goes back by itself where the job says so; otherwise it is told to."""
        job_id = job_of(release.application)

        def gone_back() -> str:
            current = self.api.job(job_id)
            if current is not None and current["Version"] == job["Version"]:
                self._go_back(job_id, job)
                return ""
            if any(each["JobVersion"] == job["Version"] for each in self.api.allocations(job_id)):
                return ""
            if current is None:
                return f"{job_id} is stopped: nothing was there before"
            return f"{job_id} is at {sha_of(current)[:10] or 'what it was'} again"

        if said := wait_until(gone_back, seconds=CONVERGE_SECONDS_MAX, every=POLL_SECONDS):
            return said
        raise CannotGoOn(f"{job_id} is not back after {CONVERGE_SECONDS_MAX:.0f} s: --resume")

    def _go_back(self, job_id: str, job: Mapping[str, Any]) -> None:
        older = (v for v in self.api.versions(job_id) if v["Version"] < job["Version"])
        stable = next((each for each in older if each["Stable"]), None)
        if stable is None:
            self.api.ask("DELETE", f"/v1/job/{job_id}")
            return
        body = {
            "JobID": job_id,
            "JobVersion": stable["Version"],
            "EnforcePriorVersion": job["Version"],
        }
        self.api.ask("POST", f"/v1/job/{job_id}/revert", body)

    def _ours(self, release: Release) -> Any:
        job_id = job_of(release.application)
        job = self.api.version_of(job_id, release.id)
        if job is None:
            raise CannotGoOn(
                f"Nomad knows no version of {job_id} for release {release.id}: --abort, and again"
            )
        return job

    def _parsed(self, release: Release) -> dict[str, Any]:
        own = {
            "service": release.application,
            "artifact_url": release.fact("artifact_url"),
            "artifact_sha256": release.fact("pex_sha256"),
            "version": self.version_name,
            "sha": release.version,
        }
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items())
        values = f"{self.values.rstrip()}\n{lines}"
        body = {"JobHCL": self.text(release), "Variables": values, "Canonicalize": True}
        return dict(self.api.ask("POST", "/v1/jobs/parse", body))


def job_of(application: str) -> str:
    return f"cbs-{application}"


def _healthy(deployment: Mapping[str, Any]) -> bool:
    """Its canaries are, or all that it wants if it has none."""
    return all(
        group["HealthyAllocs"] >= (group["DesiredCanaries"] or group["DesiredTotal"])
        for group in deployment["TaskGroups"].values()
    )


def _unhealthy(deployment: Mapping[str, Any]) -> bool:
    return any(group["UnhealthyAllocs"] for group in deployment["TaskGroups"].values())


def _waits(deployment: Mapping[str, Any]) -> bool:
    return any(
        group["DesiredCanaries"] and not group["Promoted"]
        for group in deployment["TaskGroups"].values()
    )
