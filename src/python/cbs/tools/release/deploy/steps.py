"""A release goes forward step by step, and back from wherever it stops: nothing is left halfway.

Each step is written down before it is done and after it; a step that may have been done already is
done again, which the environment promises to bear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from cbs.tools.release.deploy.metrics_samples import InstanceUrls
from cbs.tools.release.deploy.releases import (
    Done,
    Installed,
    Journal,
    JournalEntry,
    Release,
    ReleaseStep,
)
from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.package import sha256_of
from cbs.tools.release.gate.records import GateAnswer, Verdict, no, yes


class CannotGoOn(Exception):
    """A step could not be done, and nothing was decided: the release waits to be resumed."""


class StepFailed(Exception):
    """A step was done and did not work: the release goes back."""


class ReleaseTarget(Protocol):
    """Where releases go. All of it can be asked twice for the same release, and is done once.

    Raises CannotGoOn, with what to do. To migrate or to promote may raise StepFailed.
    """

    def version(self, application: str) -> str:
        """The commit that is there and promoted; "" if none is. Raises CannotGoOn if it may not be
        released in this way."""
        ...

    def known_good(self, application: str) -> Sequence[Installed]:
        """What the environment knows of that ran well there, the newest first; what is there now
        is the first."""
        ...

    def upload(self, release: Release, pex: Path, sha256: str) -> str:
        """Put it where the environment fetches it; returns the URL."""
        ...

    def still_has(self, release: Release) -> str:
        """Where it fetches the package of a release that goes back; raises StepFailed if it is not
        there any more."""
        ...

    def migrate(self, release: Release) -> str:
        """Bring its database to where the version wants it; returns what was done."""
        ...

    def before(self, release: Release) -> dict[str, str]:
        """What is to be put back when the canary is over."""
        ...

    def start_canary(self, release: Release) -> str:
        """Start it beside what is there; returns what was started."""
        ...

    def canary(self, release: Release) -> "Canary":
        """How it is, and where to ask it and those beside it."""
        ...

    def promote(self, release: Release) -> str:
        """It is there alone; a rollback beside what is there, and alone as soon as it is ready."""
        ...

    def revert(self, release: Release) -> str:
        """Whatever was begun for the release is gone, and `release.before` is there alone."""
        ...


class CanaryState(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """`canaries` and `stable` are where instances are; `why` tells what failed, and `restarts` how
    often a task of a canary was started again in its place."""

    state: CanaryState
    why: str = ""
    restarts: int = 0
    canaries: tuple[InstanceUrls, ...] = ()
    stable: tuple[InstanceUrls, ...] = ()


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploying:
    """`pex` gives a package of the release's commit, or raises CannotGoOn; `gate` and `judge`
    decide, and may take their time; `before_canary` gives what the judge compares with; `record`
    and `tell` (of the audit trail) bear being asked twice."""

    journal: Journal
    environment: ReleaseTarget
    pex: Callable[[Release], Path]
    gate: Callable[[Release], Done]
    before_canary: Callable[[Release], Done]
    judge: Callable[[Release], Done]
    record: Callable[[Release], None]
    tell: Callable[[Verdict], None]
    now: Callable[[], datetime]
    say: Say = field(default=lambda _: None)

    def run(self, release: Release) -> Release:
        """Go on from where it is until it is over. Raises CannotGoOn."""
        self.journal.keep(release)
        self._tell(release)
        while (step := release.next) is not None:
            self._do(release, step)
            self._tell(release)
        return release

    def _do(self, release: Release, step: ReleaseStep) -> None:
        entry = release.entry(step)
        if entry is None:
            entry = JournalEntry(step=step, began=self.now())
            release.steps.append(entry)
        else:
            entry.tries += 1
        self.journal.keep(release)
        self.say(f"{step}: {release}" + (" (again)" if entry.tries > 1 else ""))
        try:
            done = self._done(release, step)
        except StepFailed as failed:
            done = Done(answer=GateAnswer.NO, reasons=[no(str(failed))])
        entry.done, entry.ended = done, self.now()
        self.journal.keep(release)
        for reason in done.reasons:
            self.say(f"  {reason.answer:8} {reason.why}")
        for note in done.notes:
            self.say(f"  note     {note}")

    def _done(self, release: Release, step: ReleaseStep) -> Done:
        match step:
            case ReleaseStep.PACKAGE:
                return self._package(release)
            case ReleaseStep.GATE:
                return self.gate(release)
            case ReleaseStep.ARTIFACT:
                if release.is_at_once:
                    return done(self.environment.still_has(release))
                pex, sha256 = self._packaged(release)
                url = self.environment.upload(release, pex, sha256)
                return done(f"{url} has SHA-256 {sha256}", artifact_url=url)
            case ReleaseStep.MIGRATIONS:
                return done(self.environment.migrate(release))
            case ReleaseStep.BASELINE:
                # A step of its own: looked at again with a canary at work, it would be no baseline.
                known = self.before_canary(release)
                if known.answer is not GateAnswer.YES:
                    return known
                facts = known.facts | self.environment.before(release)
                return msgspec.structs.replace(known, facts=facts)
            case ReleaseStep.CANARY:
                return done(self.environment.start_canary(release))
            case ReleaseStep.JUDGE:
                return self.judge(release)
            case ReleaseStep.PROMOTE:
                return done(self.environment.promote(release))
            case ReleaseStep.REVERT:
                return done(self.environment.revert(release))
            case ReleaseStep.RECORD:
                self.record(release)
                return done(f"{release} is recorded")

    def _package(self, release: Release) -> Done:
        pex = self.pex(release)
        sha256 = sha256_of(pex)
        facts = {"pex": str(pex.resolve()), "pex_sha256": sha256}
        why = f"{pex.name} is of {release.version[:SHORT]}, and has SHA-256 {sha256}"
        others = {
            each.digest: each
            for each in self.journal.releases()
            if (each.application, each.version) == (release.application, release.version)
            and each.digest not in ("", sha256)
        }
        notes = [
            f"the same commit went out with other bytes: SHA-256 {digest} in release {each.id}"
            for digest, each in others.items()
        ]
        return Done(answer=GateAnswer.YES, reasons=[yes(why)], notes=notes, facts=facts)

    def _packaged(self, release: Release) -> tuple[Path, str]:
        """The very bytes that passed the gate."""
        pex, sha256 = Path(release.fact("pex")), release.fact("pex_sha256")
        if not pex.exists() or sha256_of(pex) != sha256:
            raise CannotGoOn(
                f"{pex} is not the file with SHA-256 {sha256} that passed the gate any more: bring"
                " it back and --resume, or --abort"
            )
        return pex, sha256

    def _tell(self, release: Release) -> None:
        """Each step that ended, to the audit trail. The same step makes the same verdict."""
        for entry in release.steps:
            if entry.done is not None and not entry.told:
                self.tell(verdict_of(release, entry))
                entry.told = True
                self.journal.keep(release)


def verdict_of(release: Release, entry: JournalEntry) -> Verdict:
    """What came of a step, as it is signed."""
    assert entry.done is not None, entry
    assert entry.ended is not None, entry
    return Verdict(
        application=release.application,
        version=release.version,
        environment=release.environment,
        answer=entry.done.answer,
        reasons=entry.done.reasons,
        notes=entry.done.notes,
        pex_sha256=release.digest,
        at=entry.ended,
        by=release.by,
        release=release.id,
        step=entry.step,
    )


def done(why: str, **facts: str) -> Done:
    return Done(answer=GateAnswer.YES, reasons=[yes(why)], facts=facts)
