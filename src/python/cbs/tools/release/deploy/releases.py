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

from cbs.tools.release.gate.blobs import Blobs, BlobStore
from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.records import GateAnswer, Reason, Store, StoreUnreachable

PLACE = "releases/"


class ReleaseStep(StrEnum):
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


class ReleaseKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class ReleaseOutcome(StrEnum):
    """`refused` never got as far as a canary; `reverted` did, and is gone again."""

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
    """`before` is the version that it takes the place of, if any; `committed` when its own was."""

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
            return ReleaseStep.REVERT if self.entry(ReleaseStep.CANARY) else None
        return next((each for each in FORWARD if not self.done(each)), ReleaseStep.PROMOTE)

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
        return ReleaseOutcome.REVERTED if self.entry(ReleaseStep.CANARY) else ReleaseOutcome.REFUSED

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
        if isinstance(store, BrokerStore):
            return cls(store.beside)
        assert isinstance(store, BlobStore), store
        return cls(store.blobs)

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
