"""Versions of the ledger, good and bad, are released while customers ask: none of them notices."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.cli import __main__ as program
from cbs.tools.cluster import binaries
from cbs.tools.cluster.api import Declined, NoCluster
from cbs.tools.cluster.artifacts import PROGRAMS
from cbs.tools.ops.verify.verify import places_of
from tests.cluster.conftest import found
from tests.gate.clone import ROOT
from tests.gate.workflows import steps_of
from tests.release_e2e import pexes
from tests.release_e2e.bank import PERCENT, TO, Bank, Told, made, note
from tests.release_e2e.load import Load, Meter, opened
from tests.release_e2e.pexes import PLANTED

pytestmark = pytest.mark.timeout(1500)
assert program  # run as `python -m cbs.tools.cli`
REFUSED = r"refuses this token|Permission denied"
NIGHT = os.environ.get("CBS_TEST_NIGHT") == "1"
# tests/deploy/test_nomad.py has them by day, without a bank.
BY_NIGHT = pytest.mark.skipif(not NIGHT, reason="the night has it: CBS_TEST_NIGHT=1")
# 20 is meant on a quiet machine; here customers ask all the time, and other tests may run.
BACK_SECONDS_MAX = 40.0
UP_SECONDS_MAX, DOWN_SECONDS_MAX, FORGET_SECONDS_MAX = 600, 180, 30
QUIET = {"stable": None, "canary": None, "canary-percent": "10"}
EXPANDS = '''"""Room for a note."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import sql_migration

ID = "ledger_0002_note"
VERSION = "1.38.0"
DESCRIPTION = "Room for a note"
SCRIPT = "ALTER TABLE transaction ADD COLUMN note text"


async def forwards() -> MigrationManager:
    return sql_migration(service="ledger", id=ID, description=DESCRIPTION, script=SCRIPT)
'''
CONTRACTS = EXPANDS.replace("0002_note", "0003_less").replace(
    "ADD COLUMN note text", "DROP COLUMN narrative"
)
COLUMN = """
    SELECT EXISTS (SELECT FROM information_schema.columns
        WHERE table_name = 'transaction' AND column_name = $1)"""
MIGRATIONS = "cbs/ledger/migrations"


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    """Up, with customers who ask all the time."""
    dist = next((p for p in (ROOT, ROOT / "dist") if _has_all(p)), None)
    if dist is None:
        pytest.skip("no PEXes: run this through ./pants, or ./pants package :: first")
    programs = {tool.variable: str(found(tool)) for tool in (binaries.NOMAD, binaries.CONSUL)}
    with tempfile.TemporaryDirectory(prefix="cbs-releasing-") as root:
        # As root, tasks are nobody's, who must pass through.
        Path(root).chmod(0o711)
        bank = made(Path(root), dist, programs)
        data = ("--data", str(bank.folder.root))
        bank.environ["CBS_SHA"] = bank.clone.git("rev-parse", "HEAD")
        try:
            words = ["--detach", "--dist", str(dist), *data, *(["--mesh"] if NIGHT else [])]
            up = bank.run("cluster", "dev", *words, seconds=UP_SECONDS_MAX)
            assert up.returncode == 0, up.stdout + up.stderr
            del bank.environ["CBS_SHA"]
            (bank.folder.root / "pexes").mkdir()
            with Load(bank.folder, asyncio.run(opened(bank.folder))) as bank.load:
                yield bank
        finally:
            bank.run("down", *data, seconds=DOWN_SECONDS_MAX)


@pytest.fixture(autouse=True)
def measured(bank: Bank, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    with capsys.disabled():
        for text in bank.load.said:
            print(f"\n{text}")  # noqa: T201
    bank.load.said.clear()


def _has_all(place: Path) -> bool:
    return all((place / "cbs" / f"{name}.pex").is_file() for name in PROGRAMS)


class Unnoticed:
    """What customers asked inside the block, none of it in vain."""

    def __init__(self, load: Load, what: str) -> None:
        self.load, self.what = load, what

    def __enter__(self) -> None:
        self.before, self.began = self.load.so_far(), time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        asked, repeated, failed = self.load.so_far()
        asked, repeated = asked - self.before[0], repeated - self.before[1]
        failed -= self.before[2]
        many = sum(failed.values())
        times = [
            self.began,
            *(at for at in self.load.answered if at > self.began),
            time.monotonic(),
        ]
        pause = max(after - before for before, after in pairwise(times))
        self.load.said.append(
            f"{self.what}: {asked} requests, {sum(repeated.values())} repeated, {many} failed,"
            f" longest pause {pause:.2f} s"
        )
        note(f"{dict(repeated)} {dict(failed)}" if repeated or failed else "")
        if kind is None:
            assert asked > 100, "the load stands still"
            assert failed == Counter()
            # A busy machine may keep a client waiting; what a canary got wrong nobody sees.
            assert not [how for how in repeated if PLANTED in how or " 500" in how]


def shared(meter: Meter, told: Told) -> None:
    """The canary was asked, and hardly more than its share."""
    note(f"asked of canary, of all: {meter.shares}\n{told.said('judge')}")
    for protocol, (mine, all_) in meter.shares.items():
        share, spread = PERCENT / 100, (PERCENT / 100 * (1 - PERCENT / 100) * all_) ** 0.5
        # By lot it would be within five standard deviations; and what was under way is counted.
        assert 0 < mine <= share * all_ + 5 * spread + 3, (protocol, meter.shares)
    assert set(meter.shares) == {"http", "bus"}


def as_before(bank: Bank, sha: str) -> None:
    assert bank.routes() == QUIET
    until = time.monotonic() + FORGET_SECONDS_MAX
    while (there := bank.ledgers()) != {sha} and time.monotonic() < until:
        time.sleep(0.5)
    assert there == {sha}


def column(bank: Bank, name: str) -> bool:
    async def there() -> bool:
        place = places_of(bank.folder)["ledger"]
        connection = await asyncpg.connect(place.url, passfile=place.passfile)
        try:
            return bool(await connection.fetchval(COLUMN, name))
        finally:
            await connection.close()

    return asyncio.run(there())


def test_who_deploys_reads_no_secret_and_touches_no_rule(bank):
    nomad, consul = bank.api("nomad", "deployer"), bank.api("consul", "deployer")
    assert nomad.get("/v1/job/cbs-ledger")["ID"] == "cbs-ledger"
    allocation = nomad.get("/v1/job/cbs-ledger/allocations")[0]["ID"]
    nats = nomad.get("/v1/job/cbs-nats")
    for refused in (
        lambda: nomad.get("/v1/var/nomad/jobs/cbs-ledger"),
        lambda: nomad.put("/v1/var/nomad/jobs/cbs-ledger", {"Items": {"token": "mine"}}),
        lambda: nomad.get(f"/v1/client/fs/ls/{allocation}"),
        lambda: nomad.get(f"/v1/client/fs/logs/{allocation}", task="service", type="stdout"),
        lambda: nomad.get("/v1/acl/tokens"),
        lambda: nomad.get("/v1/nodes"),
        lambda: nomad.put("/v1/system/gc"),
        lambda: nomad.ask("DELETE", "/v1/job/cbs-nats"),
        lambda: nomad.post("/v1/jobs", {"Job": nats}),
        lambda: consul.put("/v1/acl/policy", {"Name": "mine", "Rules": 'acl = "write"'}),
        lambda: consul.put("/v1/kv/other", b"1"),
        lambda: consul.put("/v1/agent/service/register", {"Name": "cbs-ledger", "Port": 1}),
    ):
        with pytest.raises((NoCluster, Declined), match=REFUSED):
            refused()


def test_a_good_version_takes_over_and_nobody_notices(bank):
    base = bank.clone.git("rev-parse", "HEAD")
    (bank.sources / MIGRATIONS / "ledger_0002_note.py").write_text(EXPANDS)
    sha = bank.clone.commit("Room for a note")
    pex = bank.pex("good")
    diff = bank.run(*bank.words("diff", "ledger", "--to", TO, "--data", str(bank.folder.root)))
    assert f"{base[:10]} -> {sha[:10]}" in diff.stdout, diff.stdout + diff.stderr
    assert "migration ledger_0002_note.py" in diff.stdout

    # The gate brings up a bank of its own beside this one, on two cores: not while we count.
    bank.verify()
    with Unnoticed(bank.load, "a good release"), bank.meter() as meter:
        told = bank.deploy("--pex", str(pex))

    assert (told.code, told.outcome) == (0, "promoted"), told.why
    shared(meter, told)
    as_before(bank, sha)
    assert column(bank, "note")
    (release,) = bank.history()
    assert (release["before"], release["outcome"]) == (base, "promoted")
    assert all(each["told"] for each in release["steps"])
    verdicts = json.loads(bank.run(*bank.words("verdicts", "--json")).stdout)
    assert all(each["valid"] and each["audited"] for each in verdicts)
    steps = [each["signed"]["verdict"].get("step") for each in verdicts]
    assert [each for each in steps if each] == [each["step"] for each in release["steps"]]
    dora = bank.run(*bank.words("dora", "--env", TO, "--json"))
    assert json.loads(dora.stdout)["deployments"] == 1, dora.stderr


def test_one_that_takes_away_what_the_old_one_reads_never_runs(bank):
    (before,) = bank.ledgers()
    file = bank.sources / MIGRATIONS / "ledger_0003_less.py"
    file.write_text(CONTRACTS)
    bank.clone.commit("No narrative")
    try:
        told = bank.deploy("--pex", str(bank.pex("less")), "--no-run")
    finally:
        file.unlink()
        bank.clone.commit("With a narrative")

    assert (told.code, told.outcome) == (1, "refused")
    assert "transaction.narrative" in told.why and "ledger_0003_less.py" in told.why
    assert [each["step"] for each in told.release["steps"]] == ["package", "gate"]
    as_before(bank, before)
    assert column(bank, "narrative")


def test_one_that_breaks_a_contract_never_runs(bank):
    (before,) = bank.ledgers()
    limits = "HISTORY_MAX, NARRATIVE_CHARACTERS_MAX = 200, {}, 140"
    bank.clone.edit("ledger/bus/endpoints.py", limits.format(200), limits.format(25))
    bank.clone.commit("Less history")
    try:
        told = bank.deploy("--pex", str(bank.pex("contract")))
    finally:
        bank.clone.edit("ledger/bus/endpoints.py", limits.format(25), limits.format(200))
        bank.clone.commit("All history")

    assert (told.code, told.outcome) == (1, "refused"), told.progress
    assert "breaks accounts@" in told.why and "the history of an account" in told.why
    as_before(bank, before)


@BY_NIGHT
def test_one_that_fails_one_in_ten_goes_back_and_nobody_notices(bank):
    (before,) = bank.ledgers()
    with bank.faulty("One in ten fails", pexes.ONE_IN_TEN_FAILS):
        pex = bank.pex("failing")
        with Unnoticed(bank.load, "one in ten fails"), bank.meter() as meter:
            told = bank.deploy("--pex", str(pex))

    assert (told.code, told.outcome) == (1, "reverted"), told.why
    assert "failed, of the stable instances 0 of" in told.why
    shared(meter, told)
    as_before(bank, before)


@BY_NIGHT
def test_one_that_is_never_ready_goes_back_and_nobody_notices(bank, tmp_path):
    (before,) = bank.ledgers()
    hasty = tmp_path / "hasty.hcl"
    hasty.write_text('healthy_deadline = "30s"\n')

    with bank.faulty("Never ready", pexes.NEVER_READY):
        pex = bank.pex("never-ready")
        with Unnoticed(bank.load, "never ready"):
            told = bank.deploy("--pex", str(pex), "--values", str(hasty))

    assert (told.code, told.outcome) == (1, "reverted"), told.why
    assert "the canary is not healthy" in told.why and "allocation" in told.why
    as_before(bank, before)


def test_interrupted_it_can_be_aborted_and_killed_it_can_be_resumed(bank):
    (before,) = bank.ledgers()
    sha = bank.commit("Interrupted, then killed")
    pex = ("--pex", str(bank.pex("interrupted")))

    with Unnoticed(bank.load, "interrupted and aborted, killed and resumed"):
        said = bank.ended("is registered", signal.SIGINT, *pex)
        assert said.endswith("exit 3") and "is interrupted at" in said
        assert bank.routes()["canary"] == sha
        told = bank.deploy(*pex, "--abort")
        assert (told.code, told.outcome) == (1, "reverted")
        as_before(bank, before)

        said = bank.ended("judge: ", signal.SIGKILL, *pex)
        assert said.endswith(f"exit -{signal.SIGKILL}")
        assert bank.routes() == {"stable": before, "canary": sha, "canary-percent": str(PERCENT)}
        told = bank.deploy(*pex, "--resume")

    assert (told.code, told.outcome) == (0, "promoted"), told.why
    as_before(bank, sha)


def test_the_way_back_is_at_once_to_the_very_bytes_that_ran(bank):
    """And on from it behind the first release, to what `cluster dev` installed: a column is there
    that it does not know. No customer notices either."""
    good, last = [each for each in bank.history() if each["outcome"] == "promoted"]
    Path(good["steps"][0]["done"]["facts"]["pex"]).write_bytes(b"packaged anew, and bad")

    for before, back in ((last["version"], good["version"]), (good["version"], good["before"])):
        began = time.monotonic()
        with Unnoticed(bank.load, "a rollback"):
            told = bank.deploy(command="rollback")
        seconds = time.monotonic() - began

        bank.load.said.append(f"asked to alone: {seconds:.1f} s")
        assert (told.code, told.outcome) == (0, "promoted"), told.progress
        assert (told.release["kind"], told.release["before"]) == ("rollback", before)
        as_before(bank, back)
        assert seconds < BACK_SECONDS_MAX
    assert column(bank, "note")
    verdicts = json.loads(bank.run(*bank.words("verdicts", "--json")).stdout)
    told_of = {each["signed"]["verdict"]["pex_sha256"] for each in verdicts[-4:]}
    assert told_of == {told.release["pex_sha256"]}


@BY_NIGHT
def test_the_workflow_of_a_deployment_releases_step_by_step(bank, tmp_path):
    sha = bank.commit("By a workflow")
    packaged = bank.pex("workflow")
    pants = bank.clone.root / "pants"
    pants.write_text(f"#!/bin/sh\nmkdir -p dist/cbs && cp '{packaged}' dist/cbs/ledger.pex\n")
    pants.chmod(0o755)
    told = tmp_path / "environment"
    told.write_text("")
    own = {
        "PYTHONPATH": str(bank.sources),
        "SERVICE": "ledger",
        "TO": TO,
        "CBS_RELEASE_STORE": str(bank.clone.store),
        "CBS_DATA": str(bank.folder.root),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(told),
        "RELEASE_KEY": Ed25519PrivateKey.generate().private_bytes_raw().hex(),
        **dict.fromkeys(("NOMAD_DEPLOYER", "CONSUL_DEPLOYER", "STORE_NKEY", "PGPASS"), ""),
    }
    ran = []
    try:
        for name, script in steps_of("deploy"):
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", script],
                cwd=bank.clone.root,
                env=bank.environ | own,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, (name, done.stdout, done.stderr)
            own |= dict(line.split("=", 1) for line in told.read_text().splitlines())
            ran.append(name)
    finally:
        pants.unlink()
        shutil.rmtree(bank.clone.root / "dist", ignore_errors=True)

    first = [each.partition(" ")[0] for each in ran]
    assert first == ["Keys,", "Package", "Gate", "Release", "What"]
    assert Path(own["CBS_RELEASE_KEY"]).stat().st_mode & 0o077 == 0
    as_before(bank, sha)


@BY_NIGHT
def test_one_whose_postings_are_slow_now_and_then_goes_back(bank):
    (before,) = bank.ledgers()
    with bank.faulty("One in twenty is slow", pexes.ONE_IN_TWENTY_IS_SLOW):
        pex = bank.pex("slow")
        with Unnoticed(bank.load, "one in twenty is slow"):
            told = bank.deploy("--pex", str(pex), "--window", "30", "--requests", "300")

    assert (told.code, told.outcome) == (1, "reverted"), told.why
    assert "took over 250 ms, the objective allows 1%" in told.why
    as_before(bank, before)


def test_one_that_tells_wrong_amounts_goes_back_and_each_is_named(bank):
    """Last: what it wrote stays in the bank until somebody repairs it."""
    (before,) = bank.ledgers()
    with bank.faulty("Tells a paisa more", pexes.TELLS_A_PAISA_MORE):
        pex = bank.pex("a-paisa-more")
        with Unnoticed(bank.load, "tells a paisa more"):
            told = bank.deploy("--pex", str(pex))

    assert (told.code, told.outcome) == (1, "reverted"), told.why
    as_before(bank, before)
    wrong = [line for line in told.why.splitlines() if line.startswith("ledger/told-as-booked")]
    assert wrong and "transaction_id" in wrong[0], told.why
    verified = bank.run("verify", "--data", str(bank.folder.root), "--json")
    assert verified.returncode == 1, verified.stderr
    rows = [each for each in json.loads(verified.stdout) if each["check"] == "told-as-booked"]
    named = rows[0]["rows"][0]["transaction_id"]
    assert named in wrong[0]


@BY_NIGHT
def test_one_that_books_what_nobody_asked_for_goes_back_and_each_is_named(bank):
    """And while they are there, nothing more goes out unless somebody signs for it."""
    (before,) = bank.ledgers()
    with bank.faulty("Rounds to five paise", pexes.ROUNDS):
        pex = bank.pex("rounds")
        told = bank.deploy("--pex", str(pex), "--despite-violations", "known since the last one")
        refused = bank.deploy("--pex", str(pex))

    assert (refused.code, refused.outcome) == (1, "refused"), refused.why
    assert "ledger/booked-as-asked is violated already by" in refused.why
    assert (told.code, told.outcome) == (1, "reverted"), told.why
    assert "ledger/booked-as-asked is violated by" in told.why
    as_before(bank, before)
