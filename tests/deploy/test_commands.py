"""`cbs release deploy` and what tells of it: exit codes, and a sentence for whoever reads."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from cbs.tools.release.deploy import commands, reports
from cbs.tools.release.deploy.releases import (
    FORWARD,
    Journal,
    JournalEntry,
    Release,
    ReleaseKind,
    ReleaseOutcome,
    ReleaseStep,
    new_id,
)
from cbs.tools.release.deploy.steps import done
from cbs.tools.release.gate import signatures
from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.layout import NOW, SOURCES
from tests.deploy import agent
from tests.deploy.world import BEGAN
from tests.release.packages import pex
from tests.release.place import Place

DONE, NO, USAGE, CANNOT_SAY = 0, 1, 2, 3

app = typer.Typer()
app.command("deploy")(commands.deploy)
app.command("rollback")(commands.rollback)
app.command("history")(reports.history)
app.command("diff")(reports.diff)
app.command("dora")(reports.metrics)


@pytest.fixture
def jobs() -> dict[str, Any]:
    """What Nomad answers, by path: of a new one nothing."""
    return {}


@pytest.fixture(autouse=True)
def nomad(jobs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that tells of its jobs, and takes none."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CBS_DATA", str(tmp_path / "bank"))
    monkeypatch.setenv("CBS_RELEASE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("CBS_RELEASE_ARTIFACTS_URL", "http://artifacts.example")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("CBS_RELEASE_KEY", raising=False)
    (tmp_path / "prod.hcl").write_text('driver = "raw_exec"\n')
    with agent.telling(jobs) as url:
        monkeypatch.setenv("NOMAD_ADDR", url)
        yield


def release(place: Place, *words: str) -> Result:
    where = ("--repository", str(place.root), "--store", str(place.root.with_name("store")))
    return CliRunner().invoke(app, [*words, *where])


def deploy(place: Place, *words: str) -> Result:
    folder, history = place.root.parent, GitHistory(place.root)
    pex(folder / "ledger.pex", history, history.sha("HEAD"), "ledger")
    files = ("--values", str(folder / "prod.hcl"), "--pex", str(folder / "ledger.pex"))
    return release(place, "deploy", "ledger", "--to", "prod", "--no-run", *files, *words)


def test_what_runs_from_an_image_is_not_released_from_a_pex(place: Place, base: str):
    image = 'images = { ledger = { name = "registry.example/ledger", sha256 = "0" } }\n'
    (place.root.parent / "prod.hcl").write_text('driver = "raw_exec"\n' + image)

    answer = deploy(place)

    assert answer.exit_code == CANNOT_SAY
    assert "runs from an image there" in answer.stderr and "./cbs cluster up" in answer.stderr
    assert "ledger@" not in release(place, "history").stdout


def test_what_the_gate_does_not_know_stops_there_with_exit_3(place: Place, base: str):
    answer = deploy(place, "--json")

    assert answer.exit_code == CANNOT_SAY, answer.stderr
    said = json.loads(answer.stdout)
    assert [each["step"] for each in said["steps"]] == ["package", "gate"]
    assert "REFUSED   deploy ledger@" in release(place, "history").stdout
    assert not (place.root.parent / "artifacts").exists()


def test_a_gate_that_says_no_is_exit_1_with_its_reasons(place: Place, base: str):
    place.write("src/python/cbs/ledger/main.py", "changed = True\n")
    place.bank.breaks = ("partner-ledger",)
    place.may("ledger", place.commit())

    answer = deploy(place)

    assert answer.exit_code == NO
    assert "REFUSED" in answer.stdout
    assert "breaks partner@" in answer.stdout


def test_it_waits_where_it_cannot_go_on_and_is_taken_back(place: Place, base: str):
    place.may("ledger", base)

    answer = deploy(place)

    assert answer.exit_code == CANNOT_SAY
    assert "Nomad refuses: nomad POST" in answer.stderr
    (artifact,) = (place.root.parent / "artifacts").iterdir()
    assert artifact.read_bytes() == (place.root.parent / "ledger.pex").read_bytes()
    again = deploy(place)
    assert again.exit_code == CANNOT_SAY
    assert "is under way, at migrations" in again.stderr
    assert "--resume" in again.stderr

    back = deploy(place, "--abort")

    assert back.exit_code == NO
    assert "aborted by" in back.stdout
    (told,) = json.loads(release(place, "history", "--json").stdout)
    assert (told["outcome"], told["next"]) == ("refused", None)
    assert deploy(place, "--resume").exit_code == CANNOT_SAY


def test_no_cluster_on_this_machine_says_how_to_have_one(place: Place, base: str):
    answer = release(place, "deploy", "ledger", "--to", "laptop-cluster")

    assert answer.exit_code == CANNOT_SAY
    assert "no cluster is up in" in answer.stderr
    assert "./cbs cluster dev --detach" in answer.stderr
    assert "nothing was released yet" in release(place, "history").stdout


def test_a_cluster_elsewhere_has_to_be_named(
    place: Place, base: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CBS_RELEASE_ARTIFACTS")

    answer = deploy(place)

    assert answer.exit_code == CANNOT_SAY
    assert "--artifacts-url" in answer.stderr and "laptop-cluster" in answer.stderr


@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_both_commands_take_the_same_options(command: str):
    answer = CliRunner().invoke(app, [command, "--help"])

    for option in ("--canary-percent", "--values", "--artifacts-url", "--pex", "--json", "--data"):
        assert option in answer.stdout


def test_nothing_to_roll_back_to_is_exit_1(place: Place, base: str):
    answer = back(place)

    assert answer.exit_code == NO
    assert "nothing is known that ran well in prod before" in answer.stderr


# --- the package ---------------------------------------------------------------------------------


def test_a_package_of_another_commit_stays_here(place: Place, base: str):
    place.may("ledger", base)
    folder, history = place.root.parent, GitHistory(place.root)
    place.write(f"{SOURCES}/ledger/main.py", "rounds = 'up'\n")
    stale = pex(folder / "stale.pex", history, base, "ledger")
    sha = place.commit()

    answer = deploy(place, "--pex", str(stale))

    assert answer.exit_code == CANNOT_SAY
    assert f"stale.pex is not made of ledger@{sha[:10]}: it lacks cbs/ledger/main.py" in (
        answer.stderr
    )
    assert "./pants package src/python/cbs/ledger:pex, and --resume" in answer.stderr
    assert not (folder / "artifacts").exists()


def test_what_lies_in_dist_goes_out_only_if_it_is_of_the_commit(place: Place, base: str):
    """It was packaged, then the next version was committed and not packaged."""
    place.may("ledger", base)
    dist = place.root / "dist" / "cbs" / "ledger.pex"
    dist.parent.mkdir(parents=True)
    pex(dist, GitHistory(place.root), base, "ledger")
    place.write(".gitignore", "/dist/\n")
    place.write(f"{SOURCES}/ledger/main.py", "rounds = 'up'\n")
    place.commit()
    words = ("deploy", "ledger", "--to", "prod", "--no-run")

    answer = release(place, *words, "--values", str(place.root.parent / "prod.hcl"))

    assert answer.exit_code == CANNOT_SAY
    assert "is not made of ledger@" in answer.stderr and "has no ./pants" in answer.stderr
    assert not (place.root.parent / "artifacts").exists()


# --- the way back --------------------------------------------------------------------------------

URL = "http://artifacts.example/{}.pex"


def back(place: Place, *words: str) -> Result:
    values = ("--values", str(place.root.parent / "prod.hcl"))
    return release(place, "rollback", "ledger", "--to", "prod", *values, *words)


def ran(place: Place, sha: str, hour: int, **how: Any) -> Release:
    """A release of the ledger that was promoted."""
    at = BEGAN + timedelta(hours=hour)
    kept = Release(
        id=new_id(at),
        application="ledger",
        version=sha,
        environment="prod",
        committed=BEGAN,
        at=at,
        by="asha",
        **({"pex_sha256": sha + "0" * 24, "artifact_url": URL.format(sha)} | how),
    )
    for step in (ReleaseStep.PROMOTE, ReleaseStep.RECORD):
        kept.steps.append(JournalEntry(step=step, began=at, ended=at, done=done(step), told=True))
    Journal.of(place.store).keep(kept)
    return kept


def runs(jobs: dict[str, Any], sha: str) -> None:
    """By release, and Nomad remembers no earlier version."""
    job = {"Stop": False, "Stable": True, "Meta": {"cbs_sha": sha}, "TaskGroups": []}
    jobs |= {"/v1/job/cbs-ledger": job, "/v1/job/cbs-ledger/versions": {"Versions": [job]}}


def under_way(place: Place) -> Release:
    found = Journal.of(place.store).under_way("prod")
    assert found is not None
    return found


def test_back_is_to_the_package_that_ran_and_not_to_what_lies_here(
    place: Place, base: str, jobs: dict[str, Any]
):
    (place.root.parent / "artifacts").mkdir()
    good = ran(place, base, 1)
    runs(jobs, ran(place, place.commit(), 2).version)
    kept = place.root.parent / "artifacts" / f"{base}.pex"
    kept.write_bytes(b"the good one")

    answer = back(place)

    assert answer.exit_code == NO, answer.stderr
    assert f"is not the file with SHA-256 {good.digest}" in answer.stderr
    (told,) = [e for e in Journal.of(place.store).releases() if e.kind is ReleaseKind.ROLLBACK]
    assert (told.version, told.digest, told.url) == (base, good.digest, good.url)
    assert [each.step for each in told.steps] == ["gate", "artifact"]


def test_back_is_never_to_what_somebody_went_back_from(
    place: Place, base: str, jobs: dict[str, Any]
):
    (place.root.parent / "artifacts").mkdir()
    good, bad = place.commit(), place.commit()
    ran(place, base, 1)
    ran(place, good, 2)
    ran(place, bad, 3)
    runs(jobs, ran(place, good, 4, kind=ReleaseKind.ROLLBACK, before=bad).version)

    # None of their packages is there any more: so far it goes.
    assert back(place).exit_code == back(place, "--version", bad).exit_code == NO
    tried = sorted(Journal.of(place.store).releases(), key=lambda each: each.at)[-2:]
    assert [each.version for each in tried] == [base, bad]
    assert all(each.outcome is ReleaseOutcome.REFUSED for each in tried)


def test_back_is_not_to_what_the_gate_says_no_to(place: Place, base: str, jobs: dict[str, Any]):
    migration = f"{SOURCES}/ledger/{NOW.migrations}/ledger_0001_less.py"
    place.write(f"{SOURCES}/ledger/reads.py", 'SQL = "SELECT day FROM posting"\n')
    reads = place.commit()
    place.write(f"{SOURCES}/ledger/reads.py", "")
    place.commit()
    place.write(migration, 'sql_migration(script="ALTER TABLE posting DROP COLUMN day")\n')
    less = place.commit()
    place.deploy(less, "ledger")
    ran(place, reads, 1)
    runs(jobs, ran(place, less, 2).version)

    answer = back(place)

    assert answer.exit_code == NO
    assert f"not ledger@{reads[:10]} to prod: ledger_0001_less.py contracts" in answer.stderr


# --- emergencies ---------------------------------------------------------------------------------


def test_an_emergency_goes_out_without_the_gate_and_owes_its_verdict(place: Place, base: str):
    place.write("src/python/cbs/ledger/main.py", "changed = True\n")
    place.bank.breaks = ("partner-ledger",)
    place.may("ledger", place.commit())

    answer = deploy(place, "--emergency", "money leaves by the partner's door")

    assert answer.exit_code == CANNOT_SAY
    assert "Nomad refuses" in answer.stderr
    gone = under_way(place)
    gate = gone.done(ReleaseStep.GATE)
    assert gate is not None
    assert "an emergency" in gate.reasons[0].why and "is owed" in gate.reasons[0].why
    assert any("no: " in note and "breaks partner@" in note for note in gate.notes)
    for step in (*FORWARD, ReleaseStep.PROMOTE, ReleaseStep.RECORD):
        if gone.entry(step) is None or gone.entry(step).done is None:  # type: ignore[union-attr]
            gone.steps.append(JournalEntry(step=step, began=gone.at, done=done("so"), told=True))
    Journal.of(place.store).keep(gone)
    told = release(place, "history").stdout
    assert "an emergency: money leaves by the partner's door" in told
    assert "owes the gate's verdict: ./cbs release can-i-deploy ledger" in told

    said = place.may("ledger", gone.version)
    place.store.keep_verdict(signatures.signed(said, Ed25519PrivateKey.generate()))

    assert "owes" not in release(place, "history").stdout


@pytest.mark.parametrize("words", [("deploy",), ("deploy", "--emergency", "now"), ("rollback",)])
def test_who_may_not_sign_for_it_releases_nothing_there(
    place: Place, base: str, jobs: dict[str, Any], words: tuple[str, ...]
):
    place.write(
        "contracts/release.toml", f'[signers.asha]\nkey = "{"a" * 64}"\nenvironments = ["prod"]\n'
    )
    promoted = place.commit()
    place.deploy(promoted, "ledger")
    ran(place, base, 1)
    runs(jobs, ran(place, promoted, 2).version)

    answer = deploy(place, *words[1:]) if words[0] == "deploy" else back(place)

    assert answer.exit_code == CANNOT_SAY
    assert "may not sign for prod (stranger)" in answer.stderr
    assert not (place.root.parent / "artifacts").exists()


def test_with_the_gates_memory_away_an_emergency_is_kept_and_carried_over(
    place: Place, base: str, tmp_path: Path
):
    away = ("--store", "nats://127.0.0.1:1")
    deploy(place)  # makes the package
    files = ("--values", str(tmp_path / "prod.hcl"), "--pex", str(tmp_path / "ledger.pex"))
    words = ("deploy", "ledger", "--to", "prod", *files, "--repository", str(place.root), *away)

    refused = CliRunner().invoke(app, [*words])
    taken = CliRunner().invoke(app, [*words, "--emergency", "NATS burns"])

    assert (refused.exit_code, taken.exit_code) == (CANNOT_SAY, CANNOT_SAY)
    assert "the gate's memory is away" in taken.stderr and "Nomad refuses" in taken.stderr
    assert "the gate's memory is away" not in refused.stderr
    assert "it was not asked" in taken.stderr
    history = json.loads(release(place, "history", "--json").stdout)
    (told,) = [each for each in history if each["emergency"]]
    assert (told["emergency"], told["next"]) == ("NATS burns", "migrations")
    assert not list((tmp_path / "state").rglob("emergency/releases/*.json"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("deploy", "moon", "--to", "prod"), "no such application"),
        (("deploy", "ledger", "--to", "prdo"), "no such environment: prdo"),
        (("rollback", "ledger", "--to", "prdo"), "no such environment: prdo"),
        (("diff", "ledger", "--to", "prdo"), "no such environment: prdo"),
        (("deploy", "partner", "--to", "prod"), "is a client"),
        (("deploy", "ledger", "--to", "prod", "--resume", "--abort"), "opposite things"),
    ],
)
def test_wrong_usage_is_exit_2(place: Place, base: str, words: tuple[str, ...], why: str):
    answer = release(place, *words)

    assert answer.exit_code == USAGE
    assert why in answer.stderr


def test_an_empty_history_says_so(place: Place, base: str):
    assert "nothing was released yet" in release(place, "history").stdout
    assert json.loads(release(place, "history", "--json").stdout) == []
    assert "no release reached prod" in release(place, "dora").stdout
    assert json.loads(release(place, "dora", "--json").stdout)["failure_rate"] is None


def test_diff_names_commits_and_migrations(place: Place, base: str):
    assert "nothing of what it is made of changes" in _diff(place).stdout
    migrations = f"{SOURCES}/ledger/{NOW.migrations}"
    place.write(f"{migrations}/ledger_0001_first.py", 'SQL = ["CREATE TABLE a (b int)"]\n')
    place.commit()
    place.write("README.md", "of no service\n")
    place.commit()

    told = json.loads(_diff(place, "--json").stdout)

    assert [each["before"] for each in told] == [base]
    assert len(told[0]["commits"]) == 1
    assert [each["name"] for each in told[0]["migrations"]] == ["ledger_0001_first.py"]
    assert "migration ledger_0001_first.py" in _diff(place).stdout


def _diff(place: Place, *words: str) -> Result:
    return release(place, "diff", "ledger", "--to", "prod", *words)
