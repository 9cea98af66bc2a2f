"""A provider's build holds what the broker selects for it, and the broker hears what came of it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.history import PACTS, SHORT, GitHistory, NoSuchVersion
from cbs.tools.release.gate.pact_broker import Selected
from cbs.tools.release.gate.records import Result, StoreUnreachable, log_link, now, operator
from cbs.tools.release.gate.signatures import sign
from cbs.tools.release.layout import LOCK, SOURCES
from cbs.tools.release.provider_verification.report import Verified


@dataclass(frozen=True, slots=True)
class Selection:
    """`files` are of `pacts`, in their order; some were there before."""

    pacts: Sequence[Selected]
    files: Sequence[Path]

    def added(self, files: Collection[Path], *, wished: bool) -> list[Path]:
        """What comes on top of these: binding, or only wished for."""
        pairs = zip(self.pacts, self.files, strict=True)
        return [file for pact, file in pairs if pact.wished is wished and file not in files]


def selection(
    store: BrokerStore,
    history: GitHistory,
    providers: Collection[str],
    *,
    own: Collection[Path],
    folder: Path,
) -> Selection:
    """What the broker selects for the branch that is checked out; new files go to `folder`."""
    branch = history.branch()
    if branch is None:
        raise StoreUnreachable("no branch is checked out, so none can be matched: git switch one")
    pacts = [
        pact
        for provider in sorted(providers)
        for pact in store.broker.pacts_to_verify(provider, branch)
        if pact.consumer in store.applications
    ]
    there = {_read(file.read_bytes()): file for file in own}
    files = []
    for n, pact in enumerate(pacts):
        pact.content = _as_committed(history, pact)
        place = folder / f"selected-{n}-{pact.consumer}-{pact.provider}.json"
        file = there.setdefault(_read(pact.content), place)
        if file == place:
            file.write_bytes(pact.content)
        files.append(file)
    return Selection(pacts, files)


def publish_results(
    store: BrokerStore,
    history: GitHistory,
    selected: Selection,
    verified: dict[Path, Verified],
    key: Ed25519PrivateKey,
) -> str:
    """Tell the broker of all that was verified; says how much that was."""
    sha = history.sha("HEAD")
    if history.changed(SOURCES, PACTS, LOCK):
        return f"the broker is told nothing: the work tree is not as {sha[:SHORT]} has it"
    told = 0
    for pact, file in zip(selected.pacts, selected.files, strict=True):
        if (found := verified.get(file)) is not None:
            result = _result(history, sha, pact, found)
            sign(result, key)
            store.keep(result)
            told += 1
    return f"the broker is told of {told} of {len(selected.pacts)} that it selected"


def _result(history: GitHistory, sha: str, pact: Selected, found: Verified) -> Result:
    return Result(
        pact=pact.id,
        provider_content=history.content(pact.provider, sha),
        consumer=pact.consumer,
        provider=pact.provider,
        consumer_version=pact.consumer_version,
        provider_version=sha,
        outcomes=found.outcomes,
        at=now(),
        by=operator(),
        log=log_link(),
    )


def _as_committed(history: GitHistory, pact: Selected) -> bytes:
    """The bytes of the commit, by which results are found: a broker writes them in its own way."""
    try:
        pacts = history.pacts(history.sha(pact.consumer_version))
    except NoSuchVersion:
        return pact.content
    wanted = _read(pact.content)
    return next((each.body for each in pacts if _read(each.body) == wanted), pact.content)


def _read(body: bytes) -> str:
    return json.dumps(json.loads(body), sort_keys=True)
