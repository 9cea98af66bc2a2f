"""What a release needs beside its own steps: the gate, the judge, the audit log, and a place."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cbs.platform.invariants import CannotSay
from cbs.tools.cluster.api import Api
from cbs.tools.local.folder import Folder
from cbs.tools.ops.verify.verify import places_at, places_of
from cbs.tools.release.commands import ReleaseDesk, operators_key, progress
from cbs.tools.release.deploy.metrics_samples import sampled
from cbs.tools.release.deploy.money import BankLook, looked
from cbs.tools.release.deploy.releases import Done, Journal, Release, ReleaseStep
from cbs.tools.release.deploy.steps import CannotGoOn, Deploying, ReleaseTarget
from cbs.tools.release.deploy.watch import Watch
from cbs.tools.release.gate import audit, signatures
from cbs.tools.release.gate.records import Deployment, PutAs, Verdict, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """As the options and the environment's variables say. `pex` is the operator's word on where the
    package is, `postgres` on where the bank's databases are; in `consul` it is seen what runs."""

    desk: ReleaseDesk
    folder: Folder
    environment: ReleaseTarget
    consul: Api | None
    key: Path | None
    pex: Path | None
    postgres: str
    run: bool
    window_seconds: float
    requests_min: int

    def deploying(self) -> Deploying:
        watch = self._watch()
        return Deploying(
            journal=Journal.of(self.desk.store),
            environment=self.environment,
            pex=self._package,
            gate=self._gate,
            before_canary=watch.before,
            judge=watch,
            record=self._record,
            tell=self._tell,
            now=now,
            say=progress,
        )

    def verdict(self, release: Release) -> Verdict:
        there = self.desk.environment(release.environment, None, self.folder, consul=self.consul)
        return self.desk.gate(run=self.run).can_i_deploy(
            release.application, release.version, there, pex_sha256=release.fact("pex_sha256")
        )

    def _gate(self, release: Release) -> Done:
        verdict = self.verdict(release)
        return Done(answer=verdict.answer, reasons=verdict.reasons, notes=verdict.notes)

    def _watch(self) -> Watch:
        return Watch(
            environment=self.environment,
            sample=sampled,
            look=self._look,
            clock=time.monotonic,
            sleep=time.sleep,
            say=progress,
            window_seconds=self.window_seconds,
            requests_min=self.requests_min,
        )

    def _look(self) -> BankLook:
        try:
            places = places_at(self.postgres) if self.postgres else places_of(self.folder)
        except CannotSay as error:
            why = f"{error}; or name the cluster's PostgreSQL with --postgres"
            return BankLook(unknown={"the bank": why})
        return looked(places, say=lambda _: None)

    def _package(self, release: Release) -> Path | None:
        """What lies in dist/ was not made of another commit than HEAD."""
        if self.pex is not None:
            return self.pex if self.pex.exists() else None
        if kept := _kept_by_an_earlier(release, Journal.of(self.desk.store)):
            return kept
        file = self.desk.history.root / "dist" / "cbs" / f"{release.application}.pex"
        return file if file.exists() and self.desk.history.is_head(release.version) else None

    def _record(self, release: Release) -> None:
        deployment = Deployment(
            application=release.application,
            version=release.version,
            environment=release.environment,
            way=PutAs.DEPLOYED,
            # Of the release and not of this moment: written twice, it is there once.
            at=_promoted_at(release),
            by=release.by,
        )
        self.desk.store.record(deployment)

    def _tell(self, verdict: Verdict) -> None:
        signed = signatures.signed(
            verdict, signatures.read_key(operators_key(self.key, self.desk.place))
        )
        known = {each.id: each for each in self.desk.store.verdicts()}
        if signed.id not in known:
            self.desk.store.keep_verdict(signed)
        audit.send(self.desk.store, self.folder, say=lambda _: None)


def _promoted_at(release: Release) -> datetime:
    entry = release.entry(ReleaseStep.PROMOTE)
    assert entry is not None, release
    assert entry.ended is not None, entry
    return entry.ended


def _kept_by_an_earlier(release: Release, journal: Journal) -> Path | None:
    """The very file with which a version went out before, where it still lies."""
    for each in reversed(journal.releases()):
        same = (each.application, each.version) == (release.application, release.version)
        kept = Path(each.fact("pex") or "/")
        if same and each.is_promoted and kept.is_file():
            return kept
    return None


@contextmanager
def one_at_a_time(place: Path, environment: str) -> Iterator[None]:
    """One process of this user releases to an environment at a time. Raises CannotGoOn."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / f".{environment}.lock").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotGoOn(
                f"another process releases to {environment} now: wait for it"
            ) from None
        yield


def last_good(
    releases: list[Release], accepts: Callable[[Release], bool], current: str
) -> Release | None:
    """Of what was promoted before, newest first: the first other version that is accepted."""
    seen = {current}
    for each in releases:
        if each.version not in seen:
            seen.add(each.version)
            if accepts(each):
                return each
    return None
