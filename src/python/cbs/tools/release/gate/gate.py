"""A release may go out if nobody it talks to in that environment breaks; the gate says why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.bank import SERVICES
from cbs.tools.release.gate import policy, signatures
from cbs.tools.release.gate.environments import OWN, Environment, There
from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.migrations import lock_notes, migrations
from cbs.tools.release.gate.needs import (
    Need,
    held,
    in_the_dark,
    needs_of,
    never_told,
    not_verified,
    otherwise_written,
    over_newer_schemas,
    together,
    without_pacts,
)
from cbs.tools.release.gate.policy import Policy, Signing
from cbs.tools.release.gate.records import (
    GateAnswer,
    Reason,
    Result,
    Store,
    Verdict,
    log_link,
    now,
    operator,
    unknown,
    worst,
    yes,
)
from cbs.tools.release.gate.runner import Run, is_of
from cbs.tools.release.gate.schemas import breaking_between
from cbs.tools.release.gate.unshown import Documents, unshown
from cbs.tools.release.provider_verification.report import VerificationReport


@dataclass(slots=True, kw_only=True)
class Gate:
    """`run` makes a missing verification; without it, what was never verified is unknown.

    A candidate is verified by the program of a promoted version, and a promoted one by its own.
    With a `key` it signs what it keeps, and believes only what was signed by whoever may.
    """

    history: GitHistory
    store: Store
    run: Run | None
    say: Callable[[str], None]
    key: Ed25519PrivateKey | None = None
    _found: dict[tuple[str, str], Result] = field(default_factory=dict)
    _candidate: str = ""
    _verifier: str = ""
    _environment: str = ""
    _policy: Policy = field(default_factory=Policy)
    _promoted: frozenset[str] = frozenset()
    _read: dict[tuple[str, str], Documents] = field(default_factory=dict)

    def can_i_deploy(
        self, application: str, sha: str, environment: Environment, *, pex_sha256: str = ""
    ) -> Verdict:
        reasons, notes = [], list(environment.findings)
        new = There(application, sha)
        self._look_at(environment, sha)
        reasons += self._stranger()
        if application in OWN and sha not in self._promoted and not self._verifier:
            why = policy.why(environment.name, environment.promoted)
            notes.append(f"{application}@{sha[:SHORT]} verifies itself: {why}")
        if not environment.seen:
            notes.append(f"{environment.name} was not looked at: this goes by what was recorded")
        if not self.history.pacts(sha):
            reasons.append(without_pacts(new))
        reasons += in_the_dark(self.history, new, environment)
        reasons += never_told(self.history, new, environment)
        if self.run is not None and sha not in self._promoted:
            reasons += otherwise_written(new, self.run)
        needs = needs_of(self.history, new, environment, reasons)
        if application in SERVICES:
            over = over_newer_schemas(self.history, new, environment, notes)
            needs += [need for need in over if self._can_be_tried(need, notes)]
        self.verify(needs)
        reasons += self._held(needs, application, environment)
        replaced = environment.versions(application) if application in SERVICES else []
        for version in replaced:
            if version != sha:
                reasons += migrations(self.history, application, version, sha)
                notes += lock_notes(self.history, application, version, sha)
                notes += breaking_between(self.history, application, version, sha)
        if not reasons:
            reasons.append(yes(f"nobody in {environment.name} talks with {application}"))
        answer = worst(reason.answer for reason in reasons)
        notes += self._other_opinion(application, sha, environment.name, answer)
        return Verdict(
            application=application,
            version=sha,
            environment=environment.name,
            answer=answer,
            reasons=reasons,
            notes=notes,
            pex_sha256=pex_sha256,
            at=now(),
            by=operator(),
        )

    def _look_at(self, environment: Environment, candidate: str) -> None:
        self._candidate = candidate
        self._promoted = frozenset(each.version for each in environment.there)
        self._environment = environment.name
        self._policy = policy.policy_of(self.history, environment.promoted)
        self._verifier = policy.verifier(self.history, self._policy, environment.promoted)

    def results(
        self, needs: Sequence[Need], environment: Environment
    ) -> list[tuple[Need, Result | None]]:
        """What is kept of each, whichever program held it; what nobody has verified is verified."""
        at = now()
        self._look_at(environment, "")
        kept: list[tuple[Need, Result | None]] = []
        for need in needs:
            found = self.store.result(*self._key(need))
            good = found is not None and not found.is_stale(at) and self._may_count(need, found)
            kept.append((need, found if good else None))
        self.verify([need for need, found in kept if found is None])
        return [(need, found or self._found.get(self._key(need))) for need, found in kept]

    def _other_opinion(self, application: str, sha: str, to: str, answer: GateAnswer) -> list[str]:
        other = self.store.opinion(application, sha, to)
        if other is None:
            return []
        if other.answer is answer:
            return [f"{other.whose} says {other.answer}, too: {other.why}"]
        return [
            f"{other.whose} says {other.answer} where the gate says {answer}: {other.why};"
            " does it know all versions (./cbs release publish) and deployments (record)?"
        ]

    def verify(self, needs: Sequence[Need]) -> None:
        """Find what was verified before, and verify the rest, once for each version."""
        missing: dict[tuple[str, str], Need] = {}
        at = now()
        for need in needs:
            if need.is_empty:
                continue
            key = self._key(need)
            kept = self.store.result(*key)
            if kept is not None and not kept.is_stale(at) and self._believes(need, kept):
                self._found[key] = kept
                if not need.over:
                    self.store.stands_for(
                        kept,
                        consumer_version=need.consumer.version,
                        provider_version=need.provider.version,
                    )
            elif key not in self._found:
                missing.setdefault(key, need)
        if self.run is None:
            return
        for version, over, needed in together(missing.values()):
            pacts = [need.pact for need in needed]
            report = self.run(version, pacts, self._verifier_of(version), self._candidate, over)
            self._keep(needed, report)

    def _verifier_of(self, version: str) -> str:
        return version if version in self._promoted else self._verifier or version

    def _can_be_tried(self, need: Need, notes: list[str]) -> bool:
        """Whether its verifier knows how to: that it is older is nobody's fault."""
        verifier = self._verifier_of(need.provider.version)
        if self.history.verifies_over_migrations(verifier):
            return True
        note = f"{need.provider} was not tried over the newer schema: its verifier cannot yet"
        if note not in notes:
            notes.append(note)
        return False

    def _stranger(self) -> list[Reason]:
        """Whoever asks may not sign the answer."""
        if self.key is None:
            return []
        own = signatures.public_half(self.key)
        if (worth := self._policy.signing(own, self._environment)) is Signing.GOOD:
            return []
        why = f"the key {own[:SHORT]}… may not sign for {self._environment} ({worth})"
        return [unknown(why, f"let somebody ask who may: {policy.FILE} of what is promoted")]

    def _believes(self, need: Need, kept: Result) -> bool:
        """Signed by who may, and held by the program that would hold it now."""
        if not self._may_count(need, kept):
            return False
        version = need.provider.version
        own = self.history.verification(version)
        return (kept.verifier or own) == self.history.verification(self._verifier_of(version))

    def _may_count(self, need: Need, kept: Result) -> bool:
        """As it was signed, and by who may."""
        if self.key is not None:
            worth = self._policy.signing(kept.key, self._environment)
            if not signatures.is_as_signed(kept) or worth not in (Signing.GOOD, Signing.RETIRED):
                what = f"{need.consumer} with {need.provider}"
                self.say(f"what is kept of {what} is not signed by who may: it does not count")
                return False
        return True

    def _keep(self, needs: Sequence[Need], report: VerificationReport) -> None:
        """What could not be verified, or not brought into the state for it, is known for this time
        only: whose fault it was cannot be told, so it is tried again."""
        verified = list(report.verified)
        for need in needs:
            pact, content = self._key(need)
            found = next((each for each in verified if is_of(need.pact, each)), None)
            if found is not None:
                verified.remove(found)
            result = Result(
                pact=pact,
                provider_content=content,
                consumer=need.pact.consumer,
                provider=need.pact.provider,
                consumer_version=need.consumer.version,
                provider_version=need.provider.version,
                outcomes=found.outcomes if found else [],
                error="" if found else report.error or "it was not verified",
                verifier=self.history.verification(self._verifier_of(need.provider.version)),
                at=now(),
                by=operator(),
                log=log_link(),
                over=need.over,
            )
            if self.key is not None:
                signatures.sign(result, self.key)
            self._found[pact, content] = result
            if found is not None and not any(each.unready for each in found.outcomes):
                self.store.keep(result)

    def _unshown(self, need: Need, environment: Environment) -> list[Reason]:
        """What its examples cannot show; before a candidate is the version that it replaces."""
        provider = need.provider
        before: list[Documents] = []
        if need.over:
            return []
        if provider.version == self._candidate:
            versions = environment.versions(provider.application)
            before = [self._documents(provider.application, v) for v in versions]
        return unshown(need, before, self._documents(provider.application, provider.version))

    def _documents(self, provider: str, version: str) -> Documents:
        if (provider, version) not in self._read:
            self._read[provider, version] = Documents.of(self.history, provider, version)
        return self._read[provider, version]

    def _key(self, need: Need) -> tuple[str, str]:
        content = self.history.content(need.pact.provider, need.provider.version)
        if need.over:
            schema = self.history.migrations(need.over, need.pact.provider)
            content = sha256(f"{content} {sorted(schema.items())}".encode()).hexdigest()
        return need.pact.id, content

    def _held(
        self, needs: Sequence[Need], application: str, environment: Environment
    ) -> list[Reason]:
        """Whether each does; that a version does not come up is told once."""
        reasons: list[Reason] = []
        failed: dict[tuple[There, str], list[Need]] = {}
        for need in needs:
            result = self._found.get(self._key(need))
            if result is not None and result.error:
                failed.setdefault((need.provider, result.error), []).append(need)
            else:
                reasons += self._reasons(need, application)
                reasons += self._unshown(need, environment)
        reasons += [not_verified(each, application, why) for (_, why), each in failed.items()]
        return reasons

    def _reasons(self, need: Need, application: str) -> list[Reason]:
        return held(need, self._found.get(self._key(need)), application)
