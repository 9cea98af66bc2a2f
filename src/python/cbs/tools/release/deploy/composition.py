"""What a release needs beside its own steps: the gate, the judge, the audit log, and a place."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cbs.platform.invariants import CannotSay
from cbs.tools.cluster.api import Api
from cbs.tools.local.folder import Folder
from cbs.tools.ops.verify.verify import places_at, places_of
from cbs.tools.release.deploy.metrics_samples import sampled
from cbs.tools.release.deploy.money import BankLook, looked
from cbs.tools.release.deploy.releases import Done, Journal, Release, ReleaseStep
from cbs.tools.release.deploy.steps import CannotGoOn, Deploying, ReleaseTarget
from cbs.tools.release.deploy.watch import Watch
from cbs.tools.release.desk import ReleaseDesk, progress
from cbs.tools.release.gate import audit, package, signatures
from cbs.tools.release.gate.history import SHORT, NoSuchVersion, NotAPact
from cbs.tools.release.gate.package import NotBuilt, NotOfCommit
from cbs.tools.release.gate.policy import FILE, Signing, policy_of
from cbs.tools.release.gate.records import (
    Deployment,
    GateAnswer,
    PutAs,
    StoreUnreachable,
    Verdict,
    now,
    yes,
)


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
    emergency: str
    despite: str
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
        """On the way back and in an emergency nothing is verified on the spot: it must not wait."""
        there = self.desk.environment(release.environment, None, self.folder, consul=self.consul)
        return self.desk.gate(
            run=self.run and not (release.is_at_once or release.emergency), key=self.key
        ).can_i_deploy(release.application, release.version, there, pex_sha256=release.digest)

    def _gate(self, release: Release) -> Done:
        """On the way back a no stops it, and what the gate does not know is told: what is there is
        known to be bad. In an emergency all of it is told, and the answer is owed."""
        self._check_signer(release)
        if release.emergency:
            return _despite(release, self._said_in_an_emergency(release))
        verdict = self.verdict(release)
        told = [
            f"{each.answer}: {each.why}"
            for each in verdict.reasons
            if each.answer is not GateAnswer.YES
        ]
        if release.is_at_once and verdict.answer is GateAnswer.UNKNOWN:
            why = (
                f"nothing is known against going back to {release.version[:SHORT]}, which ran there"
            )
            return Done(answer=GateAnswer.YES, reasons=[yes(why)], notes=[*told, *verdict.notes])
        return Done(answer=verdict.answer, reasons=verdict.reasons, notes=verdict.notes)

    def _said_in_an_emergency(self, release: Release) -> list[str]:
        """With its memory away it knows nobody, and its yes would be worth nothing."""
        if self.desk.is_away:
            return ["the gate's memory is away: it was not asked"]
        try:
            verdict = self.verdict(release)
        except (StoreUnreachable, NoSuchVersion, NotAPact) as error:
            return [f"the gate cannot say: {error}"]
        return [*(f"{each.answer}: {each.why}" for each in verdict.reasons), *verdict.notes]

    def _check_signer(self, release: Release) -> None:
        """Also on the way back and in an emergency; raises CannotGoOn."""
        to = release.environment
        there = self.desk.environment(to, None, self.folder, consul=self.consul)
        own = signatures.public_half(self.desk.key(self.key))
        worth = policy_of(self.desk.history, there.promoted).signing(own, to)
        if worth is not Signing.GOOD:
            raise CannotGoOn(
                f"the key {own[:SHORT]}… may not sign for {to} ({worth}): let somebody --resume who"
                f" may ({FILE} of what is promoted)"
            )

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

    def _package(self, release: Release) -> Path:
        """Of the release's commit, whoever made it: what the operator names, what lies in dist/, or
        else what is made of a clean checkout. Raises CannotGoOn."""
        what = (self.desk.history, release.version, release.application)
        try:
            if self.pex is not None:
                package.check(self.pex, *what)
                return self.pex
            packaged = self.desk.history.root / "dist" / "cbs" / f"{release.application}.pex"
            if packaged.exists():
                try:
                    package.check(packaged, *what)
                    return packaged
                except NotOfCommit as error:
                    progress(f"  note     {error}: not that one goes out")
            return package.built(*what, self.desk.place / "packages", say=progress)
        except (NotOfCommit, NotBuilt) as error:
            raise CannotGoOn(
                f"{error}. Check that commit out, ./pants package"
                f" src/python/cbs/{release.application}:pex, and --resume; or --abort"
            ) from None

    def _record(self, release: Release) -> None:
        deployment = Deployment(
            application=release.application,
            version=release.version,
            environment=release.environment,
            way=PutAs.DEPLOYED,
            # Of the release and not of this moment: written twice, it is there once.
            at=_promoted_at(release),
            by=release.by,
            pex_sha256=release.digest,
        )
        signatures.sign(deployment, self.desk.key(self.key))
        self.desk.store.record(deployment)

    def _tell(self, verdict: Verdict) -> None:
        kept = (signatures.verified_verdict(each) for each in self.desk.store.verdicts())
        told = {(each.release, each.step) for each in kept if each is not None}
        if (verdict.release, verdict.step) not in told:
            self.desk.keep(verdict, self.desk.key(self.key))
        audit.send(self.desk.store, self.folder, say=lambda _: None)


def _promoted_at(release: Release) -> datetime:
    entry = release.entry(ReleaseStep.PROMOTE)
    assert entry is not None, release
    assert entry.ended is not None, entry
    return entry.ended


def _despite(release: Release, told: list[str]) -> Done:
    """What goes out without the gate's yes owes it."""
    why = f"an emergency, says {release.by}: {release.emergency}. The gate's verdict is owed"
    return Done(answer=GateAnswer.YES, reasons=[yes(why)], notes=told)


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
