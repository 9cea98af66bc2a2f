"""Every planted change gets its verdict from the real gate, against the real services."""

from collections.abc import Iterator, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.bank import SERVICES
from cbs.tools.release.gate.blobs import BlobStore, FolderBlobs
from cbs.tools.release.gate.environments import APPLICATIONS, There
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.needs import Need
from cbs.tools.release.gate.runner import Runner
from tests.gate.clone import Clone
from tests.gate.planted import CHANGES, NO, ROWS, YES, Row

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def versions(clone: Clone) -> Mapping[str, str]:
    """Each branch's commit, and all of their pacts verified, with one bank a commit."""
    made = {"base": clone.git("rev-parse", "main")}
    for name, change in CHANGES.items():
        clone.branch(name, "main")
        change(clone)
        made[name] = clone.commit(f"Planted: {name}")
    clone.git("checkout", "--quiet", "main")
    for application in APPLICATIONS:
        sha = made["tolerant" if application == "payments" else "base"]
        clone.record(application, sha, "pilot")
    clone.record("customers", made["base"], "fresh")
    history = GitHistory(clone.root)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clone.environment().items():
            patch.setenv(name, value)
        gate = Gate(
            history=history,
            store=BlobStore(FolderBlobs(clone.store)),
            run=Runner(history=history, say=print, kept=clone.home / "derived"),
            say=print,
            key=Ed25519PrivateKey.generate(),
        )
        gate.verify(list(needs(history, made)))
    return made


def needs(history: GitHistory, made: Mapping[str, str]) -> Iterator[Need]:
    """What all questions of this file come to, but the one whose state fails."""
    base = made["base"]

    def of(consumer_at: str, provider_at: str, *providers: str, over: str = "") -> Iterator[Need]:
        for pact in history.pacts(consumer_at):
            if pact.provider in providers:
                consumer = There(pact.consumer, consumer_at)
                yield Need(pact, consumer, There(pact.provider, provider_at), over)

    yield from of(base, base, *APPLICATIONS)
    yield from (n for n in of(made["consumers"], base, "payments"))
    yield from of(base, made["one"], "accounts", "payments", "ledger", "customers")
    yield from of(base, made["two"], "accounts", "payments", "ledger", "customers")
    yield from of(base, made["three"], "ledger", "customers", "payments")
    yield from of(made["tolerant"], made["three"], "ledger")
    for service in SERVICES:
        yield from of(base, made["expanded"], service)
        yield from of(base, base, service, over=made["expanded"])
    yield from of(base, made["tripped"], "customers")
    yield from of(base, base, "customers", over=made["tripped"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what.replace(" ", "-"))
def test_a_planted_change_gets_its_verdict(clone: Clone, versions: Mapping[str, str], row: Row):
    how = [] if row.runs else ["--no-run"]
    answer = clone.may(row.application, versions[row.at], *how, to=row.to)

    why = answer.why(row.gets[0])
    wanted = [each.format(**{n: sha[:SHORT] for n, sha in versions.items()}) for each in row.says]
    assert (answer.verdict["answer"], answer.code) == row.gets, answer.verdict["reasons"]
    assert any(all(part in each for part in wanted) for each in why), (wanted, why)


def test_what_did_not_change_holds(clone: Clone, versions: Mapping[str, str]):
    for application in APPLICATIONS:
        answer = clone.may(application, versions["base"], "--no-run")
        assert answer.code == 0, (application, answer.verdict)


def test_of_thirty_bad_releases_none_goes_out_and_of_ten_good_ones_each():
    """What the rows above are, so that nobody takes one away unseen."""
    got = [row.gets for row in ROWS]

    assert got.count(NO) >= 30
    assert got.count(YES) >= 10
