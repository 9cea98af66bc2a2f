"""A small repository and a store in which the gate's logic is tried, with a bank that only says."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.release.gate import signatures
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.environments import There, environment
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import PACTS, GitHistory, Pact
from cbs.tools.release.gate.records import Deployment, PutAs, Verdict, now
from cbs.tools.release.provider_verification.report import (
    InteractionOutcome,
    VerificationReport,
    Verified,
)

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOBODY = ("-c", "user.name=Asha", "-c", "user.email=asha@bank.example")
SCHEMA = {
    "openapi": "3.1.0",
    "info": {"title": "ledger", "version": "1"},
    "paths": {"/v1/ledger/head": {"get": {"responses": {"200": {"description": "It"}}}}},
}


@dataclass
class Bank:
    """Says of every pact what it is told to say, and counts."""

    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    verifiers: list[str] = field(default_factory=list)
    overs: list[str] = field(default_factory=list)
    breaks: tuple[str, ...] = ()
    breaks_at: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unready: bool = False
    error: str = ""
    stale: tuple[str, ...] = ()
    many: int = 1

    def __call__(
        self, sha: str, pacts: Sequence[Pact], verifier: str, candidate: str, over: str = ""
    ) -> VerificationReport:
        self.verifiers.append(verifier)
        self.overs.append(over)
        self.breaks = self.breaks_at.get(sha, self.breaks)
        self.asked.append((sha, [f"{pact.consumer}-{pact.provider}" for pact in pacts]))
        if self.error:
            return VerificationReport(error=self.error)
        return VerificationReport(verified=[self._verified(pact) for pact in pacts])

    def derived(self, sha: str, application: str) -> list[str]:
        return list(self.stale)

    def _verified(self, pact: Pact) -> Verified:
        held = f"{pact.consumer}-{pact.provider}" not in self.breaks
        names = ["ask"] if self.many == 1 else [f"ask {n}" for n in range(self.many)]
        outcomes = [
            InteractionOutcome(
                description=name,
                held=held,
                unready=self.unready,
                why=[] if held else ["$.x is gone"],
            )
            for name in names
        ]
        return Verified(consumer=pact.consumer, provider=pact.provider, outcomes=outcomes)

    @property
    def pairs(self) -> list[str]:
        return [pair for _, pairs in self.asked for pair in pairs]


@dataclass
class Place:
    """A small repository, and a store beside it."""

    root: Path
    bank: Bank = field(default_factory=Bank)

    def git(self, *words: str) -> str:
        argv = ["git", "-C", str(self.root), *NOBODY, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def pact(self, consumer: str, provider: str, *reads: str) -> None:
        told = [{"description": name} for name in reads]
        body = {"consumer": {"name": consumer}, "provider": {"name": provider}}
        self.write(
            f"{PACTS}/{consumer}-{provider}.json", json.dumps({**body, "interactions": told})
        )

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A version")
        return self.git("rev-parse", "HEAD")

    @property
    def store(self) -> BlobStore:
        return BlobStore(FolderBlobs(self.root.with_name("store")))

    def deploy(
        self,
        version: str,
        *applications: str,
        way: PutAs = PutAs.DEPLOYED,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        for application in applications:
            done = Deployment(
                application=application,
                version=version,
                environment="prod",
                way=way,
                at=now(),
                by="asha",
            )
            if key is not None:
                signatures.sign(done, key)
            self.store.record(done)

    def may(
        self,
        application: str,
        version: str,
        *,
        run: bool = True,
        seen: list[There] | None = None,
        key: Ed25519PrivateKey | None = OPERATOR,
    ) -> Verdict:
        history = GitHistory(self.root)
        prod = environment("prod", self.store.recorded("prod"), seen, history)
        run_ = self.bank if run else None
        gate = Gate(history=history, store=self.store, run=run_, say=lambda _: None, key=key)
        return gate.can_i_deploy(application, version, prod)
