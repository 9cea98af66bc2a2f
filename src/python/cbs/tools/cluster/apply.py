"""A cluster is brought to what consul/ and nomad/ say in one order, and twice is once."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import asyncpg

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.platform.http import VERSION
from cbs.tools.cluster import deployer, environments, variables
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.artifacts import Artifact
from cbs.tools.cluster.environments import ENVIRONMENTS
from cbs.tools.cluster.jobs import FOLDER, Jobs, NomadJob, assigned
from cbs.tools.cluster.namespaces import FORMER
from cbs.tools.cluster.periodic import Upkeep
from cbs.tools.cluster.rules import ClusterChange, Rules
from cbs.tools.cluster.running import Running, left_behind, running
from cbs.tools.cluster.vault import VaultServer
from cbs.tools.local import databases, postgres, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.ops.backup import manifest

UNREACHED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
SERVERS = ("postgres", "nats")
DECLARED = re.compile(r'^variable "(\w+)"', re.MULTILINE)
MOVES, MOVE_SECONDS_MAX = f"stopped in namespace {FORMER}, to be started in the bank's own", 120


class NotApplied(RuntimeError):
    """What is named to the command does not make a cluster; the message says what to name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterApply:
    """`own` are values beside the environment's file; `folder` is the bank that gives secrets. One
    that `replaces` does what else a release does, which the gate lets: other bytes of what runs."""

    consul: Api
    nomad: Api
    environment: str
    folder: Folder
    artifacts: Mapping[str, Artifact]
    admin_url: str
    sha: str
    own: Mapping[str, Any] = field(default_factory=dict)
    replaces: bool = False
    say: Callable[[str], None] = print

    @property
    def values(self) -> dict[str, Any]:
        path = ENVIRONMENTS / f"{self.environment}.hcl"
        if not path.is_file():
            known = ", ".join(sorted(each.stem for each in ENVIRONMENTS.glob("*.hcl")))
            raise NotApplied(f"no environment {self.environment} in nomad/env; there is: {known}")
        needs = {service: declaration_of(service).needs for service in SERVICES}
        return environments.values(path.read_text(), self.own, needs)

    @property
    def jobs(self) -> Jobs:
        values = self.values
        text = assigned(values)
        for name in SERVERS:
            if name in self.artifacts:
                url, sha256 = self._place(values, name)
                text += assigned({f"{name}_artifact_url": url, f"{name}_artifact_sha256": sha256})
        return Jobs(nomad=self.nomad, consul=self.consul, values=text, say=self.say)

    def rules(self) -> Rules:
        return Rules(self.consul, {"nomad_url": self.values.get("nomad_url", self.nomad.url)})

    def secrets(self) -> Iterator[ClusterChange]:
        """Of every job, where its templates read them."""
        wanted = variables.wanted(self.folder)
        if prefix := self.values.get("vault"):
            return VaultServer.of(prefix).changes(wanted, self.say)
        return variables.changes(self.nomad, wanted)

    def changes(self) -> Iterator[ClusterChange]:
        """Of what the jobs go by."""
        yield from self.rules().changes()
        yield from deployer.changes(self.consul, self.nomad, self.folder)
        yield from self.secrets()

    def plan(self) -> Iterator[tuple[str, str]]:
        """What `run` would do: of what, and how."""
        for change in self.changes():
            yield change.what, change.how
        jobs = self.jobs
        for job_id in left_behind(self.nomad):
            yield f"job {job_id}", MOVES
        parsed = list(self._parsed(jobs))
        for job in parsed:
            if how := jobs.plan(job)[0]:
                yield f"job {job.id}", how
        try:
            left = asyncio.run(self._unmigrated())
            copier = not self._is_copied(parsed) or asyncio.run(self._copier_is_there())
        except UNREACHED:
            yield "databases", "not there yet to be looked at"
            return
        yield from ((f"database cbs_{service}", "migrate") for service in left)
        if not copier:
            yield f"role {databases.BACKUP}", "make"

    def run(self) -> list[tuple[str, str]]:
        """Do it, and say what was done; raises NotConverged, Declined, NoCluster."""
        done: list[tuple[str, str]] = []
        for change in self.changes():
            change.make()
            self._note(done, change.what, change.how)
        jobs = self.jobs
        found = list(self._parsed(jobs))
        parsed = {job.id: job for job in found}
        self._move(jobs, done)
        servers = [parsed[f"cbs-{name}"] for name in SERVERS if f"cbs-{name}" in parsed]
        self._registered(jobs, servers, done)
        self._registered(jobs, [parsed["cbs-migrate"]], done)
        self._databases(jobs, done)
        if self._is_copied(found) and not asyncio.run(self._copier_is_there()):
            asyncio.run(self._copier_made())
            self._note(done, f"role {databases.BACKUP}", "made")
        self._registered(jobs, [parsed[f"cbs-{service}"] for service in SERVICES], done)
        self._registered(jobs, [parsed["cbs-gateway"]], done)
        upkeep = [parsed[f"cbs-{each}"] for each in Upkeep if f"cbs-{each}" in parsed]
        self._registered(jobs, upkeep, done)
        return done

    def _move(self, jobs: Jobs, done: list[tuple[str, str]]) -> None:
        """A bank of before there were namespaces ends where it was, and begins where it belongs:
        two of NATS could not have the same ports."""
        left = left_behind(self.nomad)
        jobs.stop_in_order(left, MOVE_SECONDS_MAX, namespace=FORMER)
        variables.forget_former(self.nomad, left)
        for job_id in left:
            self._note(done, f"job {job_id}", MOVES)

    def _note(self, done: list[tuple[str, str]], what: str, how: str) -> None:
        done.append((what, how))
        self.say(f"{what}: {how}")

    def _parsed(self, jobs: Jobs) -> Iterator[NomadJob]:
        values = self.values
        for name in (*SERVERS, "migrate"):
            job = jobs.parse(name)
            if job.wanted:
                yield job
        for name in (*SERVICES, "gateway"):
            yield self._program(jobs, values, name)
        for each in Upkeep:
            job = jobs.parse(each, **self._told(values, each))
            if job.wanted:
                yield job

    def _program(self, jobs: Jobs, values: Mapping[str, Any], name: str) -> NomadJob:
        """With the package at hand, as of this commit. With what runs there if that has the same
        bytes, so that nothing is restarted for it; or if a release alone may replace it."""
        there = self._there(name)
        job = jobs.parse(_file(name), **self._told(values, name, there))
        if there is not None and there.marks:
            job.body["Meta"] = {**(job.body["Meta"] or {}), **there.marks}
        return job

    def _there(self, name: str) -> Running | None:
        """What was stopped comes back as it was, but on one's own machine."""
        there = running(self.nomad, f"cbs-{name}")
        return None if there is not None and there.stopped and self.replaces else there

    def _told(
        self, values: Mapping[str, Any], name: str, there: Running | None = None
    ) -> dict[str, str]:
        """What only the moment knows of a job."""
        if name in (*SERVERS, "migrate"):
            return {}
        (url, sha256), sha = self._place(values, "cli" if name in [*Upkeep] else name), self.sha
        if there is not None and (there.sha256 == sha256 or self._only_a_release(there)):
            url, sha256, sha = there.url, there.sha256, there.sha
        what = {"artifact_url": url, "artifact_sha256": sha256, "sha": sha, "version": VERSION}
        return what | ({"service": name} if name in SERVICES else {})

    def variables_of(self, name: str) -> str:
        """All that a job's file declares, as `up` would tell it, in HCL."""
        file = FOLDER / f"{_file(name)}.nomad.hcl"
        there = self._there(name)
        text = self.jobs.values + assigned(self._told(self.values, name, there))
        declared = set(DECLARED.findall(file.read_text()))
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.partition(" = ")[0] in declared)

    def _only_a_release(self, there: Running) -> bool:
        return bool(there.marks) or not self.replaces

    def held_back(self) -> dict[str, str]:
        """Programs that run with other bytes than those at hand, which a release has to bring, and
        the commit of what runs."""
        found = {}
        for name in (*SERVICES, "gateway"):
            there = self._there(name)
            if there is None or not self._only_a_release(there):
                continue
            if there.sha256 != self.artifacts[name].sha256:
                found[name] = there.sha
        return found

    def _place(self, values: Mapping[str, Any], name: str) -> tuple[str, str]:
        artifact = self.artifacts[name]
        if "artifacts_url" not in values:
            raise NotApplied(f"nomad/env/{self.environment}.hcl says no artifacts_url")
        return f"{values['artifacts_url']}/{artifact.file}", artifact.sha256

    def _registered(self, jobs: Jobs, wanted: list[NomadJob], done: list[tuple[str, str]]) -> None:
        for job in wanted:
            how, index = jobs.plan(job)
            if how:
                jobs.register(job, index)
                self._note(done, f"job {job.id}", how)
        jobs.converge([job.id for job in wanted if job.lasts])

    def _fingerprint(self, service: str) -> str:
        return hashlib.sha256(self.artifacts[service].sha256.encode()).hexdigest()

    def _databases(self, jobs: Jobs, done: list[tuple[str, str]]) -> None:
        left = asyncio.run(self._unmigrated())
        if not left:
            return
        asyncio.run(self._made(left))
        sent = {}
        for service in left:
            url, sha256 = self._place(self.values, service)
            meta = {"service": service, "artifact_url": url, "artifact_sha256": sha256}
            sent[service] = jobs.dispatch("cbs-migrate", meta | {"sha": self.sha})
        for service, job_id in sent.items():
            jobs.finish(job_id)
            note = databases.note_program(self.admin_url, service, self._fingerprint(service))
            asyncio.run(note)
            self._note(done, f"database cbs_{service}", "migrated")

    def _is_copied(self, jobs: list[NomadJob]) -> bool:
        return any(job.id == "cbs-backup" for job in jobs)

    @property
    def _vault_mark(self) -> str:
        return manifest.key_fingerprint(secrets.vault_key(self.folder).read_text())

    async def _copier_is_there(self) -> bool:
        return await databases.noted(self.admin_url, databases.BACKUP) == [self._vault_mark]

    async def _copier_made(self) -> None:
        word = secrets.password(self.folder, databases.BACKUP)
        verifier = secrets.scram_verifier(word, token_bytes(16))
        await databases.make_backup_role(self.admin_url, verifier, self._vault_mark)

    async def _unmigrated(self) -> list[str]:
        """A release migrates what it brings."""
        held = await asyncio.to_thread(self.held_back)
        return [
            service
            for service in SERVICES
            if await databases.program_of(self.admin_url, service) != self._fingerprint(service)
            and service not in held
        ]

    async def _made(self, services: list[str]) -> None:
        """Roles and databases; the server gets verifiers, never a password."""
        folder, admin_url = self.folder, self.admin_url
        await databases.check_durable(admin_url)
        await databases.claim(admin_url, folder.id)
        roles = (*databases.roles_of(tuple(services)),)
        await databases.make_roles(
            admin_url,
            {
                role: secrets.scram_verifier(secrets.password(folder, role), token_bytes(16))
                for role in roles
            },
        )
        for service in services:
            await databases.make_database(admin_url, service)


def _file(name: str) -> str:
    return "service" if name in SERVICES else name


def admin_url_of(folder: Folder, environ: Mapping[str, str], place: str = "") -> str:
    """CBS_POSTGRES_URL, or the administrator of the trial server at `place`; raises NotApplied."""
    if named := environ.get("CBS_POSTGRES_URL"):
        return named
    if not place:
        raise NotApplied("name an administrator's URL of the bank's PostgreSQL in CBS_POSTGRES_URL")
    password = secrets.password(folder, postgres.ADMIN)
    return f"postgresql://{postgres.ADMIN}:{password}@{place}/postgres"
