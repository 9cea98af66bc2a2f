"""What every command about releases works with: the history, the gate's memory, and its options."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.cluster.api import Api
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    DONE,
    NO,
    ends_with,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import CannotStart
from cbs.tools.release.gate import environments, package, signatures, stores
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.environments import APPLICATIONS, CLUSTER, LAPTOP, Environment, There
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import GitHistory, NoSuchVersion, NotAPact
from cbs.tools.release.gate.policy import Policy, policy_of
from cbs.tools.release.gate.records import (
    GateAnswer,
    Signed,
    Store,
    StoreUnreachable,
    Verdict,
    log_link,
)
from cbs.tools.release.gate.runner import Runner

ROOT = Path(__file__).parents[5]
EXIT = {GateAnswer.YES: DONE, GateAnswer.NO: NO, GateAnswer.UNKNOWN: CANNOT_SAY}

Application = Annotated[str, typer.Argument(help="A service or a client of one.")]
Version = Annotated[str, typer.Option(help="A commit; a branch or a tag stands for its commit.")]
To = Annotated[str, typer.Option("--to", help="An environment, as it is recorded.")]
Run = Annotated[bool, typer.Option("--run/--no-run", help="Verify on the spot what never was.")]
Key = Annotated[
    Path | None,
    typer.Option(envvar=signatures.ENVIRONMENT, help="The operator's key, by which to sign."),
]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar=stores.ENVIRONMENT,
        help="Where the gate's memory is: a folder, or nats://HOST:PORT for an object store"
        " (CBS_RELEASE_NATS_NKEY_FILE: its user's seed).",
        show_default="the Pact Broker of PACT_BROKER_BASE_URL, or this user's state folder",
    ),
]
Repository = Annotated[
    Path | None,
    typer.Option("--repository", help="The clone whose commits are meant.", show_default="this"),
]


@dataclass(frozen=True, slots=True)
class ReleaseDesk:
    """What every command of this module works with."""

    history: GitHistory
    store: Store
    place: Path
    is_away: bool = False

    @classmethod
    def at(
        cls, repository: Path | None, store: str | None, *, even_away: bool = False
    ) -> "ReleaseDesk":
        """With what was done while the gate's memory was away brought into it. `even_away`: if it
        still is, another beside this user's own is as good for now."""
        history = GitHistory.around(repository or ROOT)
        place = stores.own_folder(history.first())
        meanwhile = FolderBlobs(place / "emergency")
        try:
            chosen = stores.store(store, place, pacts=history.pacts)
            if even_away:
                chosen.environments()
            stores.carry_over(meanwhile, chosen)
        except StoreUnreachable as error:
            if not even_away:
                raise
            progress(f"the gate's memory is away ({error}): {meanwhile.root} keeps this until then")
            chosen = BlobStore(meanwhile)
            return cls(history, chosen, place, is_away=True)
        return cls(history, chosen, place)

    def check_known(self, environment: str) -> None:
        """Raises BadParameter for one of which nothing was ever recorded: nobody runs there who
        could break, so a slip of the pen would get its yes."""
        known = sorted({LAPTOP, CLUSTER, *([] if self.is_away else self.store.environments())})
        if environment not in known and not self.is_away:
            raise typer.BadParameter(
                f"no such environment: {environment} (there is: {', '.join(known)}). What is there"
                f" first is said by ./cbs release record SERVICE --to {environment}"
            )

    def environment(
        self, name: str, registry: Path | None, folder: Folder, *, consul: Api | None = None
    ) -> Environment:
        observed = environments.observed(name, folder, registry=registry, consul=consul)
        return self._environment(name, observed)

    def _environment(self, name: str, observed: list[There] | None) -> Environment:
        recorded, vouched = self.store.recorded(name), self.store.vouches
        return environments.environment(name, recorded, observed, self.history, vouched=vouched)

    def policy(self, name: str) -> Policy:
        """Of an environment, by what was recorded there last."""
        return policy_of(self.history, self._environment(name, None).promoted)

    def key(self, named: Path | None) -> Ed25519PrivateKey:
        """The operator's; raises NoKey."""
        return signatures.read_key(operators_key(named, self.place))

    def keep(self, verdict: Verdict, key: Ed25519PrivateKey) -> Signed:
        """Signed, and behind the last one."""
        kept = self.store.verdicts()
        after = kept[-1].id if kept else ""
        said = msgspec.structs.replace(verdict, after=after, log=log_link())
        signed = signatures.signed(said, key)
        self.store.keep_verdict(signed)
        return signed

    def gate(self, *, run: bool, key: Path | None) -> Gate:
        """Which signs with the operator's key; raises NoKey."""
        kept = self.place / "derived"
        runner = Runner(history=self.history, say=progress, kept=kept) if run else None
        own = self.key(key)
        return Gate(history=self.history, store=self.store, run=runner, say=progress, key=own)


def cannot_say(*more: type[Exception]) -> AbstractContextManager[None]:
    wrong = (
        NoSuchVersion,
        NotAPact,
        package.NotOfCommit,
        StoreUnreachable,
        signatures.NoKey,
        CannotStart,
        OSError,
    )
    return ends_with(CANNOT_SAY, *wrong, *more)


def check_application(application: str) -> None:
    if application not in APPLICATIONS:
        there = ", ".join(APPLICATIONS)
        raise typer.BadParameter(f"no such application: {application} (there is: {there})")


def check_environment(environment: str) -> None:
    if not environment.replace("-", "").isalnum() or environment.startswith("-"):
        raise typer.BadParameter(f"an environment's name is letters, digits and -: {environment}")


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def operators_key(named: Path | None, place: Path) -> Path:
    """The one that the operator names; on a laptop one is made."""
    if named is not None:
        return named
    own = place / "release.key"
    if not own.exists():
        signatures.make_key(own)
    return own
