"""On the real Nomad: a good release takes over, a bad one is gone by itself, and says why."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cbs.tools.cluster import binaries
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.running import package_of
from cbs.tools.local.health import get_at
from cbs.tools.local.waiting import wait_until
from cbs.tools.release.deploy.metrics_samples import InstanceSample, InstanceUrls, sampled
from cbs.tools.release.deploy.money import BankLook
from cbs.tools.release.deploy.nomad import Nomad, job_of
from cbs.tools.release.deploy.nomad_api import NomadApi
from cbs.tools.release.deploy.releases import (
    Installed,
    Journal,
    Release,
    ReleaseKind,
    ReleaseOutcome,
    ReleaseStep,
)
from cbs.tools.release.deploy.steps import Deploying
from cbs.tools.release.deploy.watch import Watch
from tests.deploy import agent
from tests.deploy.world import BEGAN, Hand, Killed, Memory, World

pytestmark = pytest.mark.timeout(500)
# On a quiet machine it is a few seconds; this one may do other things.
BACK_SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def nomad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nomad]:
    folder = tmp_path_factory.mktemp("nomad")
    (folder / "artifacts").mkdir()
    try:
        binary = binaries.find(binaries.NOMAD, say=lambda _: None, build=False)
    except binaries.NoBinary as error:
        pytest.skip(str(error))
    with (
        agent.agent(str(binary), folder) as url,
        agent.served(folder / "artifacts") as artifacts_url,
    ):
        yield Nomad(
            api=NomadApi(Api.at("nomad", url, "")),
            folder=folder / "artifacts",
            artifacts_url=artifacts_url,
            text=lambda _: agent.JOB,
            values=f"python = {json.dumps(sys.executable)}\n",
            version_name="1.0",
            migrates=False,
        )


class Shop:
    """One application of its own on the Nomad, released again and again."""

    def __init__(self, nomad: Nomad, application: str, folder: Path) -> None:
        self.nomad, self.application, self.folder = nomad, application, folder
        self.journal = Journal(Memory(Hand()))

    def release(self, letter: str) -> Release:
        return Release(
            id=f"{self.application}-{letter}",
            application=self.application,
            version=letter * 40,
            environment="prod",
            before=self.nomad.version(self.application),
            committed=BEGAN,
            at=BEGAN,
            by="asha",
        )

    def deploying(self, pex: Path) -> Deploying:
        watch = Watch(
            environment=self.nomad,
            sample=sampled,
            look=lambda: BankLook(checks=1),
            clock=time.monotonic,
            sleep=time.sleep,
            say=print,
            window_seconds=4,
            requests_min=100,
        )
        world = World(pex)
        return replace(
            world.deploying(),
            journal=self.journal,
            environment=self.nomad,
            before_canary=watch.before,
            judge=watch,
            say=print,
        )

    def put(self, letter: str, **how: object) -> Release:
        pex = agent.program(self.folder / f"{letter}.py", note=letter, **how)  # type: ignore[arg-type]
        return self.deploying(pex).run(self.release(letter))

    def back(self, good: Installed) -> Release:
        began = msgspec.structs.replace(
            self.release(good.version[0]),
            id=f"{self.application}-back-{time.monotonic_ns()}",
            kind=ReleaseKind.ROLLBACK,
            pex_sha256=good.sha256,
            artifact_url=good.url,
        )
        return self.deploying(Path("/nowhere")).run(began)

    def running(self) -> list[int]:
        """The versions of the job that run."""
        allocs = self.nomad.api.allocations(job_of(self.application))
        return sorted(a["JobVersion"] for a in allocs if a["ClientStatus"] == "running")


def test_a_canary_that_is_as_good_takes_over(nomad, tmp_path):
    shop = Shop(nomad, "ledger", tmp_path)
    first = shop.put("a")
    assert (first.outcome, first.before) == (ReleaseOutcome.PROMOTED, "")

    second = shop.put("b")

    assert (second.outcome, second.before) == (ReleaseOutcome.PROMOTED, "a" * 40), second.why
    assert nomad.version("ledger") == "b" * 40
    (judge,) = [each for each in second.steps if each.step is ReleaseStep.JUDGE]
    assert judge.done is not None
    assert any("of the stable instances" in r.why for r in judge.done.reasons), judge.done
    assert len(shop.running()) == 1


def test_a_canary_that_is_not_ready_is_gone_by_itself_and_says_why(nomad, tmp_path):
    shop = Shop(nomad, "payments", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    there = shop.running()

    # A busy machine needs long for a good one; it need not wait as long for a bad one.
    hasty = replace(nomad, text=lambda _: agent.JOB.replace('"120s"', '"40s"'))
    release = Shop(hasty, "payments", tmp_path).put("b", ready=False)

    assert release.outcome is ReleaseOutcome.REVERTED
    assert "the canary is not healthy" in release.why[0]
    assert "allocation" in release.why[0]
    assert nomad.version("payments") == "a" * 40
    assert len(shop.running()) == len(there) == 1


def test_one_in_ten_that_fails_is_judged_and_reverted(nomad, tmp_path):
    shop = Shop(nomad, "accounts", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED

    release = shop.put("b", errors=0.1)

    assert release.outcome is ReleaseOutcome.REVERTED
    assert "failed, of the stable instances 0 of" in release.why[0]
    assert nomad.version("accounts") == "a" * 40
    assert len(shop.running()) == 1


def test_a_canary_that_is_started_again_in_its_place_is_seen(nomad, tmp_path):
    """Ready again at once, and with counters that begin anew: only Nomad knows."""
    shop = Shop(nomad, "canary-restarts", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    again = 'attempts = 3\n      delay    = "0s"\n      interval = "10m"'
    patient = replace(nomad, text=lambda _: agent.JOB.replace("attempts = 0", again))
    shop.nomad = patient
    deploying = shop.deploying(agent.program(tmp_path / "b.py", note="b"))
    assert isinstance(deploying.judge, Watch)
    killed: list[InstanceUrls] = []

    def kills(place: InstanceUrls) -> InstanceSample:
        """The canary is asked first."""
        found = sampled(place)
        if not killed:
            killed.append(place)
            get_at(place.ready, "/die", seconds=5)
            assert wait_until(lambda: sampled(place).ready, seconds=60, every=0.2)
        return found

    release = replace(deploying, judge=replace(deploying.judge, sample=kills)).run(
        shop.release("b")
    )

    assert release.outcome is ReleaseOutcome.REVERTED
    assert "it was restarted while it was watched: 1 tasks" in release.why[0], release.why


def test_killed_while_its_canary_starts_it_goes_on_with_that_one(nomad, tmp_path):
    shop = Shop(nomad, "audit", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    pex = agent.program(tmp_path / "b.py", note="b")
    memory = shop.journal.blobs
    assert isinstance(memory, Memory)
    put = memory.put

    def dies(name: str, body: bytes) -> None:
        # The canary is there, and nobody has written that down yet.
        if b'"step":"canary"' in body and b"is registered" in body:
            raise Killed
        put(name, body)

    memory.put = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        shop.deploying(pex).run(shop.release("b"))
    memory.put = put  # type: ignore[method-assign]
    waiting = shop.journal.under_way("prod")
    assert waiting is not None
    assert waiting.next is ReleaseStep.CANARY

    release = shop.deploying(pex).run(waiting)

    assert release.outcome is ReleaseOutcome.PROMOTED, release.why
    versions = nomad.api.versions(job_of("audit"))
    assert len(versions) == 2, [each["Version"] for each in versions]
    entry = release.entry(ReleaseStep.CANARY)
    assert entry is not None
    assert entry.tries == 2


def test_aborted_with_its_canary_up_what_was_there_is_there_alone(nomad, tmp_path):
    shop = Shop(nomad, "customers", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    pex = agent.program(tmp_path / "b.py", note="b")
    deploying = shop.deploying(pex)

    def interrupted(_release: Release) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(deploying, judge=interrupted).run(shop.release("b"))
    waiting = shop.journal.under_way("prod")
    assert waiting is not None
    waiting.aborted = "aborted by asha"

    release = deploying.run(waiting)

    assert (release.outcome, release.why) == (ReleaseOutcome.REVERTED, ["aborted by asha"])
    assert nomad.version("customers") == "a" * 40
    assert len(shop.running()) == 1


def test_the_way_back_is_at_once_and_needs_nobody_who_asks(nomad, tmp_path):
    """The very package that ran, by its digest; what lies where packages are made is another."""
    shop = Shop(nomad, "ledger-back", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    assert shop.put("b").outcome is ReleaseOutcome.PROMOTED
    agent.program(tmp_path / "a.py", note="made anew, and bad", ready=False)
    now, good = nomad.known_good("ledger-back")
    assert (now.version, good.version) == ("b" * 40, "a" * 40)

    began = time.monotonic()
    release = shop.back(good)
    seconds = time.monotonic() - began

    sys.stderr.write(f"asked to alone: {seconds:.1f} s\n")
    assert release.outcome is ReleaseOutcome.PROMOTED, release.why
    assert nomad.version("ledger-back") == "a" * 40
    (running,) = shop.running()
    (job,) = [j for j in nomad.api.versions("cbs-ledger-back") if j["Version"] == running]
    assert package_of(job) == (good.url, good.sha256)
    assert seconds < BACK_SECONDS_MAX


def test_what_ran_before_any_release_can_be_gone_back_to(nomad, tmp_path):
    """As `cluster up` installs it: no release knows of it, and Nomad does."""
    shop = Shop(nomad, "audit-back", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    shop.journal = Journal(Memory(Hand()))
    (installed,) = nomad.known_good("audit-back")
    assert shop.put("b").outcome is ReleaseOutcome.PROMOTED

    assert shop.back(installed).outcome is ReleaseOutcome.PROMOTED

    assert nomad.version("audit-back") == "a" * 40


def test_a_way_back_to_what_does_not_start_any_more_leaves_what_is_there(nomad, tmp_path):
    shop = Shop(nomad, "payments-back", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    assert shop.put("b").outcome is ReleaseOutcome.PROMOTED
    _, good = nomad.known_good("payments-back")
    kept = nomad.folder / good.url.rpartition("/")[2]
    kept.write_text("# another\n")

    spoilt = shop.back(good)
    kept.unlink()
    gone = shop.back(good)

    for release, why in (
        (spoilt, "is not the file with SHA-256"),
        (gone, "is gone: bring it back"),
    ):
        assert release.outcome is ReleaseOutcome.REFUSED
        assert why in release.why[0]
    assert nomad.version("payments-back") == "b" * 40
    assert len(shop.running()) == 1


def test_what_ran_well_is_kept_however_many_bad_ones_come_after_it(nomad, tmp_path):
    """Nomad itself forgets all but six versions of a job."""
    shop = Shop(nomad, "customers-back", tmp_path)
    assert shop.put("a").outcome is ReleaseOutcome.PROMOTED
    (good,) = nomad.known_good("customers-back")
    for n, letter in enumerate("bcdefgh"):
        nomad._registered(
            msgspec.structs.replace(
                shop.release(letter), id=f"bad-{n}", pex_sha256=good.sha256, artifact_url="http://x"
            )
        )

    known = nomad.known_good("customers-back")

    assert good in known
    assert len(nomad.api.versions("cbs-customers-back")) <= 7
