"""An environment that bears being asked twice, as it must, and a hand that kills at any moment."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cbs.tools.release.deploy.releases import Done, Installed, Journal, Release, ReleaseStep
from cbs.tools.release.deploy.steps import Deploying, StepFailed, done
from cbs.tools.release.gate.records import GateAnswer, Reason, Verdict

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40


class Killed(BaseException):
    """As SIGKILL: nothing that is written here hears of it."""


@dataclass
class Hand:
    """Kills at the moments whose numbers it has; counts on over all lives of a process."""

    at: frozenset[int] = frozenset()
    moment: int = 0

    def __call__(self) -> None:
        self.moment += 1
        if self.moment in self.at:
            raise Killed


@dataclass
class Memory:
    """Blobs that are there when `put` returned, and may be when it did not."""

    hand: Hand
    blobs: dict[str, bytes] = field(default_factory=dict)

    def get(self, name: str) -> bytes | None:
        return self.blobs.get(name)

    def put(self, name: str, body: bytes) -> None:
        self.hand()
        self.blobs[name] = body
        self.hand()

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.blobs if name.startswith(prefix))


@dataclass
class Town:
    """`effects` counts what changed, `asked` what was asked, each by release."""

    hand: Hand
    running: str = OLD
    canary: str = ""
    fails: tuple[str, str] = ("", "")
    artifacts: dict[str, str] = field(default_factory=dict)
    migrated: set[str] = field(default_factory=set)
    effects: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def version(self, application: str) -> str:
        return self.running

    def known_good(self, application: str) -> list[Installed]:
        return []

    def still_has(self, release: Release) -> str:
        self._change("artifact", False)
        return "it is there"

    def upload(self, release: Release, pex: Path, sha256: str) -> str:
        self._change("artifact", self.artifacts.get(release.version) != sha256)
        self.artifacts[release.version] = hashlib.sha256(pex.read_bytes()).hexdigest()
        self.hand()
        return f"http://artifacts.example/{sha256}.pex"

    def migrate(self, release: Release) -> str:
        self._change("migrations", release.version not in self.migrated)
        self.migrated.add(release.version)
        self.hand()
        return "migrated"

    def before(self, release: Release) -> dict[str, str]:
        self.hand()
        assert not self.canary, "its baseline would be its own work"
        return {"percent": "10"}

    def start_canary(self, release: Release) -> str:
        assert release.version in self.migrated, "before its migrations"
        assert release.fact("artifact_url"), "before its artifact"
        self._change("canary", self.canary != release.version)
        self.canary = release.version
        self.hand()
        return "a canary"

    def promote(self, release: Release) -> str:
        self._change("promote", self.running != release.version)
        self.running, self.canary = release.version, ""
        self.hand()
        return "promoted"

    def revert(self, release: Release) -> str:
        self._change("revert", self.canary != "" or release.is_at_once)
        self.running, self.canary = release.before, ""
        self.hand()
        return "reverted"

    def _change(self, what: str, changes: bool) -> None:
        self.hand()
        self.asked[what] += 1
        if self.fails[0] == what:
            raise StepFailed(self.fails[1])
        self.effects[what] += changes


def said(answer: GateAnswer, why: str = "so it is") -> Done:
    return Done(answer=answer, reasons=[Reason(answer=answer, why=why)])


@dataclass
class World:
    """Everything that outlives a process that deploys."""

    pex: Path
    hand: Hand = field(default_factory=Hand)
    gate: Done = field(default_factory=lambda: done("nobody breaks"))
    judge: Done = field(default_factory=lambda: done("as good as what is there"))
    told: list[Verdict] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    decided: Counter[ReleaseStep] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.town, self.memory = Town(self.hand), Memory(self.hand)
        self._clock = self._moments()

    @property
    def journal(self) -> Journal:
        return Journal(self.memory)

    def release(self, **more: Any) -> Release:
        return Release(
            id="20261102T090000-1",
            application="ledger",
            version=NEW,
            environment="prod",
            before=OLD,
            committed=BEGAN - timedelta(hours=1),
            at=BEGAN,
            by="asha",
            **more,
        )

    def deploying(self) -> Deploying:
        environment: Any = self.town
        return Deploying(
            journal=self.journal,
            environment=environment,
            pex=lambda _: self.pex,
            gate=lambda _: self._decided(ReleaseStep.GATE, self.gate),
            before_canary=lambda _: done("known", baseline="0"),
            judge=lambda _: self._decided(ReleaseStep.JUDGE, self.judge),
            record=self._record,
            tell=self._tell,
            now=lambda: next(self._clock),
        )

    def live(self, release: Release) -> Release:
        """As often as it takes: each life reads the journal, or begins."""
        while True:
            try:
                return self.deploying().run(self.journal.under_way("prod") or self._last(release))
            except Killed:
                continue

    def _last(self, release: Release) -> Release:
        kept = self.journal.releases()
        return kept[-1] if kept else release

    def _decided(self, step: ReleaseStep, done: Done) -> Done:
        self.hand()
        self.decided[step] += 1
        self.hand()
        return done

    def _record(self, release: Release) -> None:
        self.hand()
        if release.version not in self.recorded:
            self.recorded.append(release.version)
        self.hand()

    def _tell(self, verdict: Verdict) -> None:
        self.hand()
        if verdict not in self.told:
            self.told.append(verdict)
        self.hand()

    def _moments(self) -> Iterator[datetime]:
        at = BEGAN
        while True:
            at += timedelta(seconds=1)
            yield at
