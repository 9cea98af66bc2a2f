"""On Nomad a release is one version of a job, marked with its id; its deployment has the canary."""

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.bank import SERVICES
from cbs.tools.cluster.namespaces import namespace_of
from cbs.tools.cluster.running import RELEASE, SHA, package_of, sha_of
from cbs.tools.local.waiting import wait_until
from cbs.tools.release.deploy.nomad_api import (
    NomadApi,
    is_healthy,
    is_unhealthy,
    restarts_of,
    waits_for_promotion,
)
from cbs.tools.release.deploy.releases import Installed, Release
from cbs.tools.release.deploy.routes import Routes
from cbs.tools.release.deploy.steps import Canary, CanaryState, CannotGoOn, StepFailed
from cbs.tools.release.gate.package import sha256_of

MIGRATE = "cbs-migrate"
CONVERGE_SECONDS_MAX, MIGRATE_SECONDS_MAX, POLL_SECONDS = 600.0, 3_600.0, 0.5
OVER = ("failed", "cancelled")
# A rollback waits no longer than this for a good version to stay ready: it was judged before.
BACK_HEALTHY_NANOSECONDS = 1_000_000_000


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

    def known_good(self, application: str) -> Sequence[Installed]:
        found: dict[str, Installed] = {}
        for each in self.api.versions(job_of(application)):
            url, sha256 = package_of(each)
            if each["Stable"] and sha256:
                installed = Installed(version=sha_of(each), sha256=sha256, url=url)
                found.setdefault(sha256, installed)
        return list(found.values())

    def still_has(self, release: Release) -> str:
        kept = self.folder / release.url.rpartition("/")[2]
        if not kept.exists():
            if not self.folder.exists():
                return f"{self.folder} is not here to be looked at: the nodes fetch {release.url}"
            raise StepFailed(f"{kept} is gone: bring it back, its name tells its SHA-256")
        if sha256_of(kept) != release.digest:
            raise StepFailed(f"{kept} is not the file with SHA-256 {release.digest} any more")
        return f"{release.url} has SHA-256 {release.digest}"

    def upload(self, release: Release, pex: Path, sha256: str) -> str:
        name = f"{release.application}-{sha256}.pex"
        kept = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not kept.exists() or sha256_of(kept) != sha256:
                part = kept.with_name(f".{name}.part")
                shutil.copyfile(pex, part)
                part.chmod(0o644)
                part.rename(kept)
        except OSError as error:
            raise CannotGoOn(f"{self.folder} does not take the artifact: {error}") from None
        return f"{self.artifacts_url.rstrip('/')}/{name}"

    def migrate(self, release: Release) -> str:
        if not self.migrates or release.application not in SERVICES:
            return f"{release.application} has no database"
        meta = {
            "service": release.application,
            "artifact_url": release.url,
            "artifact_sha256": release.digest,
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
                    f"{job_id} failed: nomad alloc logs -namespace {namespace_of(job_id)}"
                    f" {allocs[0]['ID'][:8]} tells why"
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
        job = self._as_it_was(release) if release.is_at_once else self._parsed(release)
        if job["ID"] != job_id:
            raise CannotGoOn(f"the job's file names {job['ID']}, and {job_id} is to be released")
        # The file of an older commit says none.
        job["Namespace"] = namespace_of(job_id)
        job["Meta"] = {**(job["Meta"] or {}), RELEASE: release.id, SHA: release.version}
        self.api.keep_good(job_id)
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
        elif deployment is not None and is_unhealthy(deployment):
            # Nomad would start it elsewhere again and again, until its progress deadline.
            state = CanaryState.FAILED
            why = f"it did not become healthy in time; {self.api.wrong_with(job_id, job)}"
        elif deployment is not None and is_healthy(deployment):
            state = CanaryState.HEALTHY
        return Canary(
            state=state,
            why=why,
            restarts=restarts_of(canaries),
            canaries=self.api.places(canaries),
            stable=self.api.places(stable),
        )

    def _as_it_was(self, release: Release) -> dict[str, Any]:
        """The job of the version that is brought back, as Nomad ran it; made anew if it forgot. All
        of it starts beside what is there, and takes over when all of it is ready."""
        known = (
            each
            for each in self.api.versions(job_of(release.application))
            if each["Stable"]
            and (sha_of(each), package_of(each)[1]) == (release.version, release.digest)
        )
        job = dict(next(known, None) or self._parsed(release))
        for group in job["TaskGroups"]:
            group["Update"] = {
                **(group["Update"] or {}),
                "Canary": group["Count"],
                "MaxParallel": group["Count"],
                "AutoPromote": True,
                "AutoRevert": True,
                "MinHealthyTime": BACK_HEALTHY_NANOSECONDS,
            }
        return job

    def promote(self, release: Release) -> str:
        if release.is_at_once:
            self._registered(release)
        else:
            # First: the bus would go on to send most calls to a version that is about to leave.
            self.routes.close(release)
        job_id, job = job_of(release.application), self._ours(release)

        def is_alone() -> bool:
            deployment = self.api.deployment(job_id, job)
            status = deployment["Status"] if deployment else ""
            if status in OVER:
                why = self.api.wrong_with(job_id, job)
                raise StepFailed(f"{deployment['StatusDescription']}; {why}")
            if status == "running" and waits_for_promotion(deployment) and is_healthy(deployment):
                body = {"DeploymentID": deployment["ID"], "All": True}
                self.api.ask("PUT", f"/v1/deployment/promote/{deployment['ID']}", body)
            return bool(status == "successful")

        if wait_until(is_alone, seconds=CONVERGE_SECONDS_MAX, every=POLL_SECONDS):
            return f"version {job['Version']} of {job_id} runs alone"
        raise CannotGoOn(f"{job_id} did not converge in {CONVERGE_SECONDS_MAX:.0f} s: --resume")

    def revert(self, release: Release) -> str:
        if release.is_at_once:
            return self._reverted(release)
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
        if (runs := package_of(job)[1]) != release.digest:
            raise CannotGoOn(
                f"version {job['Version']} of {job_id} runs SHA-256 {runs}, and what was judged is"
                f" {release.digest}: --abort, and find out who changed it"
            )
        return job

    def _parsed(self, release: Release) -> dict[str, Any]:
        own = {
            "service": release.application,
            "artifact_url": release.url,
            "artifact_sha256": release.digest,
            "version": self.version_name,
            "sha": release.version,
        }
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items())
        values = f"{self.values.rstrip()}\n{lines}"
        body = {"JobHCL": self.text(release), "Variables": values, "Canonicalize": True}
        return dict(self.api.ask("POST", "/v1/jobs/parse", body))


def job_of(application: str) -> str:
    return f"cbs-{application}"
