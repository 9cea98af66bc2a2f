"""A release is the list of steps it has begun and ended; where it stands follows from nothing else.

What will be done is written down before it is done, so whoever goes on after a crash knows which
step may have happened, and does that one again: every step can be done twice.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from cbs.tools.release.gate.blobs import Blobs
from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.records import GateAnswer, Reason, Store, StoreUnreachable, Verdict
from cbs.tools.release.gate.stores import blobs_of

PLACE = "releases/"


class ReleaseStep(StrEnum):
    """A rollback has GATE, ARTIFACT, PROMOTE and RECORD: what was good before needs no canary."""

    PACKAGE = "package"
    GATE = "gate"
    ARTIFACT = "artifact"
    MIGRATIONS = "migrations"
    BASELINE = "baseline"
    CANARY = "canary"
    JUDGE = "judge"
    PROMOTE = "promote"
    REVERT = "revert"
    RECORD = "record"


FORWARD = (
    ReleaseStep.PACKAGE,
    ReleaseStep.GATE,
    ReleaseStep.ARTIFACT,
    ReleaseStep.MIGRATIONS,
    ReleaseStep.BASELINE,
    ReleaseStep.CANARY,
    ReleaseStep.JUDGE,
)
BACK = (ReleaseStep.GATE, ReleaseStep.ARTIFACT)


class ReleaseKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class ReleaseOutcome(StrEnum):
    """`refused` never ran; `reverted` did, and is gone again."""

    UNDER_WAY = "under way"
    PROMOTED = "promoted"
    REFUSED = "refused"
    REVERTED = "reverted"


class Done(msgspec.Struct, kw_only=True, frozen=True):
    """What came of a step. `facts` is what later steps need of it; `notes` change nothing."""

    answer: GateAnswer
    reasons: list[Reason]
    notes: list[str] = []
    facts: dict[str, str] = {}


class JournalEntry(msgspec.Struct, kw_only=True):
    """A step that began; it may have happened, and has if it is `done`. `told`: to the audit."""

    step: ReleaseStep
    began: datetime
    tries: int = 1
    ended: datetime | None = None
    done: Done | None = None
    told: bool = False


class Release(msgspec.Struct, kw_only=True):
    """`before` is the version that it takes the place of, if any; `committed` when its own was.

    `emergency` is why it did not wait for the gate, `despite` why it begins although the book is
    violated. A rollback knows the digest of what it brings back, and where the environment has it.
    """

    id: str
    kind: ReleaseKind = ReleaseKind.DEPLOY
    application: str
    version: str
    environment: str
    before: str = ""
    committed: datetime
    at: datetime
    by: str
    aborted: str = ""
    emergency: str = ""
    despite: str = ""
    pex_sha256: str = ""
    artifact_url: str = ""
    steps: list[JournalEntry] = []

    def entry(self, step: ReleaseStep) -> JournalEntry | None:
        return next((each for each in self.steps if each.step is step), None)

    def done(self, step: ReleaseStep) -> Done | None:
        entry = self.entry(step)
        return entry.done if entry else None

    def fact(self, name: str) -> str:
        """What a step found out; "" if none did."""
        facts = (each.done.facts for each in self.steps if each.done)
        return next((each[name] for each in facts if name in each), "")

    @property
    def digest(self) -> str:
        """The SHA-256 of the one package that it is about; "" before it has one."""
        return self.pex_sha256 or self.fact("pex_sha256")

    @property
    def url(self) -> str:
        """Where the environment fetches that package."""
        return self.artifact_url or self.fact("artifact_url")

    @property
    def is_at_once(self) -> bool:
        """A rollback; those begun before they knew their digest took all steps of a deployment."""
        return self.kind is ReleaseKind.ROLLBACK and bool(self.pex_sha256)

    @property
    def _has_run(self) -> bool:
        """Something of it may be in the environment."""
        first = ReleaseStep.PROMOTE if self.is_at_once else ReleaseStep.CANARY
        return self.entry(first) is not None

    @property
    def next(self) -> ReleaseStep | None:
        """What is to be done now; None when all is."""
        promoting = self.entry(ReleaseStep.PROMOTE)
        if promoting is not None and promoting.done is None:
            return ReleaseStep.PROMOTE
        if self.is_promoted:
            return None if self.done(ReleaseStep.RECORD) else ReleaseStep.RECORD
        if self.done(ReleaseStep.REVERT):
            return None
        failed = any(each.done and each.done.answer is not GateAnswer.YES for each in self.steps)
        if failed or self.aborted:
            return ReleaseStep.REVERT if self._has_run else None
        steps = BACK if self.is_at_once else FORWARD
        return next((each for each in steps if not self.done(each)), ReleaseStep.PROMOTE)

    @property
    def is_promoted(self) -> bool:
        done = self.done(ReleaseStep.PROMOTE)
        return done is not None and done.answer is GateAnswer.YES

    @property
    def outcome(self) -> ReleaseOutcome:
        if self.next is not None:
            return ReleaseOutcome.UNDER_WAY
        if self.is_promoted:
            return ReleaseOutcome.PROMOTED
        return ReleaseOutcome.REVERTED if self._has_run else ReleaseOutcome.REFUSED

    @property
    def ended(self) -> datetime | None:
        """When it was over; None while it is under way."""
        if self.next is not None:
            return None
        ends = [each.ended or each.began for each in self.steps]
        return max(ends, default=self.at)

    @property
    def why(self) -> list[str]:
        """What stopped it, in sentences; nothing if nothing did."""
        against = [each.done for each in self.steps if each.done]
        said = [r.why for done in against for r in done.reasons if r.answer is not GateAnswer.YES]
        return [*said, self.aborted] if self.aborted else said

    @property
    def answer(self) -> GateAnswer:
        """The worst that a step said; an abort is a no."""
        answers = {each.done.answer for each in self.steps if each.done}
        if GateAnswer.NO in answers or self.aborted:
            return GateAnswer.NO
        return GateAnswer.UNKNOWN if GateAnswer.UNKNOWN in answers else GateAnswer.YES

    def __str__(self) -> str:
        return f"{self.application}@{self.version[:SHORT]} to {self.environment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A version that ran well, and the very package of it."""

    version: str
    sha256: str
    url: str


def new_id(at: datetime) -> str:
    """Sorts by time."""
    return f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Journal:
    """Releases in the gate's memory, one document each. What `keep` returned from is not lost."""

    blobs: Blobs

    @classmethod
    def of(cls, store: Store) -> "Journal":
        """In what the operator chose as memory; beside a Pact Broker, which has no place for it."""
        return cls(blobs_of(store))

    def keep(self, release: Release) -> None:
        self.blobs.put(f"{PLACE}{release.id}.json", msgspec.json.encode(release))

    def releases(self) -> list[Release]:
        """Oldest first. Raises StoreUnreachable, if one is damaged, too."""
        return [self._read(name) for name in self.blobs.names(PLACE)]

    def under_way(self, environment: str) -> Release | None:
        """One at a time in an environment: the gate asks what is there, and that must hold."""
        there = (each for each in self.releases() if each.environment == environment)
        return next((each for each in there if each.outcome is ReleaseOutcome.UNDER_WAY), None)

    def _read(self, name: str) -> Release:
        body = self.blobs.get(name)
        try:
            return msgspec.json.decode(body or b"", type=Release)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnreachable(f"{name} is damaged ({error}): remove it") from None


def promoted(releases: Sequence[Release], application: str, environment: str) -> list[Release]:
    """What was put there and stayed, newest first."""
    return [
        each
        for each in reversed(releases)
        if (each.application, each.environment) == (application, environment)
        and each.outcome is ReleaseOutcome.PROMOTED
    ]


def left_behind(releases: Sequence[Release], application: str, environment: str) -> set[str]:
    """Versions that somebody went back from, and nobody has deployed again since."""
    left: set[str] = set()
    for each in reversed(promoted(releases, application, environment)):
        left.discard(each.version)
        if each.kind is ReleaseKind.ROLLBACK:
            left.add(each.before)
    return left


def once_good(
    releases: Sequence[Release],
    application: str,
    environment: str,
    installed: Sequence[Installed],
) -> list[Installed]:
    """What ran well there, the newest first: by the environment's own word, who had them before any
    release, and beyond its memory by the journal's."""
    journal = [
        Installed(version=each.version, sha256=each.digest, url=each.url)
        for each in promoted(releases, application, environment)
        if each.digest and each.url
    ]
    found: dict[str, Installed] = {}
    for each in (*installed, *journal):
        found.setdefault(each.sha256, each)
    return list(found.values())


def owing(releases: Sequence[Release], verdicts: Sequence[Verdict]) -> list[Release]:
    """Emergencies whose verdict the gate still owes: nobody has asked it since."""
    return [
        each
        for each in releases
        if each.emergency
        and each.outcome is ReleaseOutcome.PROMOTED
        and not any(_is_verdict_on(each, verdict) for verdict in verdicts)
    ]


def _is_verdict_on(release: Release, verdict: Verdict) -> bool:
    """And given after it: a step's own verdict is the operator's."""
    return (
        not verdict.step
        and (verdict.application, verdict.version) == (release.application, release.version)
        and verdict.environment == release.environment
        and verdict.at > release.at
    )
