"""What the gate remembers: results by content, what was put where, and what it said."""

import os
import pwd
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.provider_verification.report import InteractionOutcome

RESULT_DAYS_MAX, SHORT_KEY = 90, 40
LOG, LINK = "CBS_RELEASE_LOG", re.compile(r"https?://[\w.:/?&=%~+#@-]{1,400}")
OF_RUN = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")


class Result(msgspec.Struct, kw_only=True):
    """A pact held against a provider. Found again by the content of both, whatever the commits.

    `verifier` is git's name for the program that held it; "" for that of the provider's own commit.
    `log` is where the run can be read. `over` is the commit whose migrations had run, too, where
    that is not the provider's own. `signature` is of all the rest, by `key` (Ed25519, in hex).
    """

    pact: str
    provider_content: str
    consumer: str
    provider: str
    consumer_version: str
    provider_version: str
    outcomes: list[InteractionOutcome] = []
    error: str = ""
    verifier: str = ""
    at: datetime
    by: str
    key: str = ""
    signature: str = ""
    log: str = ""
    over: str = ""

    @property
    def held(self) -> bool:
        return not self.error and all(each.held for each in self.outcomes)

    def is_stale(self, at: datetime) -> bool:
        """Made too long ago to be relied on: it is made again."""
        return (at - self.at).days >= RESULT_DAYS_MAX

    @property
    def broken(self) -> list[InteractionOutcome]:
        return [each for each in self.outcomes if not each.held]


class PutAs(StrEnum):
    """`deployed` takes the place of what was there; `released` (a client out in the world) is one
    more; `undeployed` takes it away."""

    DEPLOYED = "deployed"
    RELEASED = "released"
    UNDEPLOYED = "undeployed"


class Deployment(msgspec.Struct, kw_only=True):
    """`version` is empty where an application is said to be there in none at all. `signature` is of
    all the rest, by `key`."""

    application: str
    version: str
    environment: str
    way: PutAs
    at: datetime
    by: str
    pex_sha256: str = ""
    key: str = ""
    signature: str = ""


class Build(msgspec.Struct, kw_only=True):
    """A commit that was built, whether its contracts changed or not. `branch` is empty where nobody
    said it; `pexes` has the SHA-256 of each package that was made of it."""

    version: str
    branch: str
    pexes: dict[str, str] = {}
    at: datetime
    by: str
    log: str = ""


class GateAnswer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Reason(msgspec.Struct, kw_only=True):
    """Why, in a sentence; `todo` says what would change it, and is empty for a yes."""

    answer: GateAnswer
    why: str
    todo: str = ""


def yes(why: str) -> Reason:
    return Reason(answer=GateAnswer.YES, why=why)


def no(why: str, todo: str = "") -> Reason:
    return Reason(answer=GateAnswer.NO, why=why, todo=todo)


def unknown(why: str, todo: str) -> Reason:
    return Reason(answer=GateAnswer.UNKNOWN, why=why, todo=todo)


def worst(answers: Iterable[GateAnswer]) -> GateAnswer:
    """A no counts before an unknown, and that before a yes."""
    found = set(answers)
    return next(
        (each for each in (GateAnswer.NO, GateAnswer.UNKNOWN) if each in found), GateAnswer.YES
    )


class Verdict(msgspec.Struct, kw_only=True):
    """Whether one version of one application may go to one environment.

    `notes` change nothing: findings, and what the change does that no known consumer minds. What
    came of a step of a release is a verdict, too: it names both. `after` is the id of the verdict
    that was kept before it: one that is taken away is missed.
    """

    application: str
    version: str
    environment: str
    answer: GateAnswer
    reasons: list[Reason]
    notes: list[str]
    pex_sha256: str = ""
    at: datetime
    by: str
    release: str = ""
    step: str = ""
    after: str = ""
    log: str = ""


class Signed(msgspec.Struct, kw_only=True):
    """A verdict as the bytes that were signed (RFC 8032, Ed25519; key and signature in hex)."""

    verdict: msgspec.Raw
    key: str
    signature: str
    audited: bool = False

    @property
    def id(self) -> str:
        return self.signature[:32]


class Opinion(msgspec.Struct, kw_only=True):
    """What another gate says that keeps the same books."""

    whose: str
    answer: GateAnswer
    why: str


class Store(Protocol):
    """Where the gate's memory is. What is written is there for whoever reads next; a result or a
    deployment that is written twice is there once. Raises StoreUnreachable."""

    def result(self, pact: str, provider_content: str) -> Result | None: ...
    def keep(self, result: Result) -> None: ...
    def results(self) -> list[Result]: ...
    def stands_for(self, result: Result, *, consumer_version: str, provider_version: str) -> None:
        """A result was found for versions that have the content of those it was made with: a store
        that goes by versions has it of these, too."""
        ...

    def record(self, deployment: Deployment) -> None: ...
    def recorded(self, environment: str) -> list[Deployment]:
        """All that was, oldest first; of a store that vouches for it, what holds."""
        ...

    @property
    def vouches(self) -> bool:
        """Whether it knows by itself who may record what."""
        ...

    def deployments(self, environment: str) -> list[Deployment]:
        """What is there by what was recorded, oldest first; what was replaced is not."""
        ...

    def environments(self) -> list[str]: ...
    def note(self, build: Build) -> None: ...
    def builds(self) -> list[Build]:
        """Oldest first."""
        ...

    def keep_verdict(self, signed: Signed) -> None: ...
    def verdicts(self) -> list[Signed]:
        """Oldest first."""
        ...

    def opinion(self, application: str, version: str, environment: str) -> Opinion | None:
        """None of a store that only keeps."""
        ...


class StoreUnreachable(Exception):
    """The store cannot be asked at present, or holds what nobody can read; it says which."""


def current(recorded: list[Deployment]) -> list[Deployment]:
    """What is there after all that was recorded of one environment, in the order of time.

    A version can be there in both ways; that it was deployed, too, ends no release.
    """
    there: list[Deployment] = []
    for each in in_time(recorded):
        there = followed(there, each)
    return there


def in_time(recorded: Iterable[Deployment]) -> list[Deployment]:
    return sorted(recorded, key=lambda deployment: deployment.at)


def followed(there: Sequence[Deployment], by: Deployment) -> list[Deployment]:
    """What is there after one more record."""
    kept = [each for each in there if not _ends(by, each)]
    return kept if by.way is PutAs.UNDEPLOYED else [*kept, by]


def _ends(new: Deployment, old: Deployment) -> bool:
    if new.application != old.application:
        return False
    if new.way is PutAs.UNDEPLOYED:
        return new.version in (old.version, "")
    return new.way is old.way and (new.way is PutAs.DEPLOYED or new.version == old.version)


def why_not_there(gone: Deployment, there: Sequence[Deployment]) -> str:
    """A version that is named wrongly must not leave the right one behind in silence: what is
    there instead, or nothing if it is there."""
    versions = [each.version for each in there if each.application == gone.application]
    if gone.version in versions:
        return ""
    what = ", ".join(version[:SHORT] for version in versions) or "no version of it"
    where = f"{gone.application}@{gone.version[:SHORT]} is not recorded in {gone.environment}"
    return f"{where}: there is {what}"


def operator() -> str:
    """Who does it, by the system's own word: a variable of the environment names whom one likes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def log_link(environ: Mapping[str, str] = os.environ) -> str:
    """Where what this process does can be read: CBS_RELEASE_LOG, or what a forge says of its run.
    Empty for what is no http(s) URL: a page makes a link of it."""
    named = environ.get(LOG, "")
    if not named and {*OF_RUN} <= environ.keys():
        server, repository, run = (environ[each] for each in OF_RUN)
        named = f"{server}/{repository}/actions/runs/{run}"
    return named if LINK.fullmatch(named) else ""


def now() -> datetime:
    return datetime.now(UTC)
