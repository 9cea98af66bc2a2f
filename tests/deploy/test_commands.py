"""`cbs release deploy` and what tells of it: exit codes, and a sentence for whoever reads."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cbs.tools.release.deploy import commands, reports
from cbs.tools.release.layout import NOW, SOURCES
from tests.deploy import agent
from tests.release.place import Place

DONE, NO, USAGE, CANNOT_SAY = 0, 1, 2, 3

app = typer.Typer()
app.command("deploy")(commands.deploy)
app.command("rollback")(commands.rollback)
app.command("history")(reports.history)
app.command("diff")(reports.diff)
app.command("dora")(reports.metrics)


@pytest.fixture(autouse=True)
def empty_nomad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that has no job, and takes none."""
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CBS_DATA", str(tmp_path / "bank"))
    monkeypatch.setenv("CBS_RELEASE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("CBS_RELEASE_ARTIFACTS_URL", "http://artifacts.example")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("CBS_RELEASE_KEY", raising=False)
    (tmp_path / "prod.hcl").write_text('driver = "raw_exec"\n')
    (tmp_path / "ledger.pex").write_bytes(b"a program")
    with agent.served(tmp_path / "nothing") as url:
        monkeypatch.setenv("NOMAD_ADDR", url)
        yield


def release(place: Place, *words: str) -> Result:
    where = ("--repository", str(place.root), "--store", str(place.root.with_name("store")))
    return CliRunner().invoke(app, [*words, *where])


def deploy(place: Place, *words: str) -> Result:
    folder = place.root.parent
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
    assert artifact.read_bytes() == b"a program"
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
    words = ("rollback", "ledger", "--to", "prod", "--values", str(place.root.parent / "prod.hcl"))

    answer = release(place, *words)

    assert answer.exit_code == NO
    assert "no earlier version is known" in answer.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("deploy", "moon", "--to", "prod"), "no such application"),
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
