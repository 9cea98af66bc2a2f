"""`cbs release`: exit codes that a script can rely on, and a sentence for whoever reads."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cbs.tools.release.commands import app
from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.gate.package import sha256_of
from cbs.tools.release.gate.records import PutAs
from cbs.tools.release.layout import SOURCES
from tests.release.packages import pex
from tests.release.place import Place

DONE, NO, USAGE, CANNOT_SAY = 0, 1, 2, 3


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and data of this test alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CBS_DATA", str(tmp_path / "bank"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CBS_RELEASE_KEY", raising=False)
    return tmp_path


def release(place: Place, *words: str) -> Result:
    store = place.root.with_name("store")
    where = ("--repository", str(place.root), "--store", str(store))
    return CliRunner().invoke(app, [*words, *where])


def ask(place: Place, *words: str) -> Result:
    return release(place, "can-i-deploy", "ledger", "--to", "prod", *words)


def test_unknown_is_exit_3_and_says_what_to_do(place: Place, base: str):
    answer = ask(place, "--no-run")

    assert answer.exit_code == CANNOT_SAY
    assert answer.stdout.startswith(f"UNKNOWN: ledger@{base[:10]} to prod")
    assert "-> ask again without --no-run" in answer.stdout


def test_yes_is_exit_0_and_no_is_exit_1(place: Place, base: str):
    place.may("ledger", base)
    assert ask(place, "--no-run").exit_code == DONE

    place.write("src/python/cbs/ledger/main.py", "changed = True\n")
    changed = place.commit()
    place.bank.breaks = ("partner-ledger",)
    place.may("ledger", changed)
    answer = ask(place, "--no-run", "--json")

    assert answer.exit_code == NO
    said = json.loads(answer.stdout)
    assert (said["answer"], said["version"]) == ("no", changed)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("can-i-deploy", "moon", "--to", "prod"), "no such application: moon"),
        (("can-i-deploy", "ledger", "--to", "../x"), "letters, digits and -"),
        (
            ("can-i-deploy", "ledger", "--to", "prdo"),
            "no such environment: prdo (there is: laptop,",
        ),
        (("record", "ledger", "--to", "prod", "--released", "--undeployed"), "exclude each other"),
        (("can-i-deploy", "ledger"), "--to"),
    ],
)
def test_wrong_usage_is_exit_2(place: Place, base: str, words: tuple[str, ...], why: str):
    answer = release(place, *words)

    assert answer.exit_code == USAGE
    assert why in answer.stderr


def test_no_such_version_is_exit_3_with_a_sentence(place: Place, base: str):
    answer = ask(place, "--version", "v9")

    assert answer.exit_code == CANNOT_SAY
    assert "has no commit 'v9': fetch it, or name another version" in answer.stderr


def test_no_repository_is_exit_3_with_a_sentence(tmp_path: Path):
    nowhere = Place(tmp_path / "nowhere")
    nowhere.root.mkdir()

    answer = ask(nowhere)

    assert answer.exit_code == CANNOT_SAY
    assert "is in no git repository that has a commit" in answer.stderr
    assert "--repository" in answer.stderr


def test_a_damaged_pact_is_exit_3_with_a_sentence(place: Place, base: str):
    place.write("contracts/pacts/partner-ledger.json", "[")
    place.commit()

    answer = ask(place, "--no-run")

    assert answer.exit_code == CANNOT_SAY
    assert "partner-ledger.json of" in answer.stderr


def test_a_forged_verdict_is_found_and_named(place: Place, base: str):
    ask(place, "--no-run")
    assert release(place, "verdicts").exit_code == DONE

    (file,) = (place.root.with_name("store") / "verdicts").iterdir()
    file.write_text(file.read_text().replace('"answer":"unknown"', '"answer":"yes"', 1))
    answer = release(place, "verdicts")

    assert answer.exit_code == NO
    assert answer.stdout.startswith("FORGED")
    (row,) = json.loads(release(place, "verdicts", "--json").stdout)
    assert (row["valid"], row["audited"]) == (False, False)


@pytest.mark.parametrize(("listed", "word"), [("key", "STRANGER"), ("revoked", "REVOKED")])
def test_a_verdict_of_who_may_not_sign_is_told(place: Place, base: str, listed: str, word: str):
    ask(place, "--no-run")
    (row,) = json.loads(release(place, "verdicts", "--json").stdout)
    assert (row["valid"], row["signer"]) == (True, "good")
    own = row["signed"]["key"]
    signer = {"key": "a" * 64, "environments": ["prod"], "revoked": []}
    signer |= {"revoked": [own]} if listed == "revoked" else {}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in signer.items())
    place.write("contracts/release.toml", f"[signers.asha]\n{text}\n")
    place.deploy(place.commit(), "ledger")

    answer = release(place, "verdicts")

    assert answer.exit_code == NO
    assert answer.stdout.startswith(f"{word:8} ") and "who may not sign for prod" in answer.stdout


def test_a_verdict_waits_while_no_bank_is_up(place: Place, base: str):
    assert "1 verdict waits for a bank" in ask(place, "--no-run").stderr
    assert "2 verdicts wait for a bank" in ask(place, "--no-run").stderr
    assert release(place, "verdicts").stdout.count("not yet audited") == 2


def test_a_key_that_others_can_read_is_refused(place: Place, base: str, tmp_path: Path):
    key = tmp_path / "operator.key"
    assert CliRunner().invoke(app, ["key", str(key)]).exit_code == DONE
    assert ask(place, "--no-run", "--key", str(key)).exit_code == CANNOT_SAY
    assert release(place, "verdicts").stdout.count("\n") == 1

    os.chmod(key, 0o640)
    answer = ask(place, "--no-run", "--key", str(key))

    assert answer.exit_code == CANNOT_SAY
    assert f"chmod 600 {key}" in answer.stderr.replace("\n", "")
    assert release(place, "verdicts").stdout.count("\n") == 1


def test_a_consumer_of_whom_nobody_spoke_keeps_a_service_from_its_yes(place: Place, base: str):
    place.pact("gateway", "ledger", "ask")
    sha = place.commit()
    place.may("ledger", sha)

    unknown = ask(place, "--no-run")
    told = release(place, "record", "gateway", "--to", "prod", "--absent")

    assert unknown.exit_code == CANNOT_SAY
    assert "gateway reads ledger, and nobody has said whether it is in prod" in unknown.stdout
    assert "./cbs release record gateway" in unknown.stdout
    assert (told.exit_code, told.stdout) == (DONE, "gateway is not in prod\n")
    assert ask(place, "--no-run").exit_code == DONE


def test_a_verdict_that_was_taken_away_is_missed(place: Place, base: str):
    for _ in range(3):
        ask(place, "--no-run")
    kept = sorted((place.root.with_name("store") / "verdicts").iterdir())
    assert release(place, "verdicts").exit_code == DONE
    kept[1].unlink()

    answer = release(place, "verdicts")
    shown = release(place, "verdicts", "--json")

    assert (answer.exit_code, shown.exit_code) == (NO, NO)
    assert f"MISSING  {kept[1].stem.rpartition('-')[2]}" in answer.stdout
    assert [each["missing_before"] for each in json.loads(shown.stdout)] == [False, True]


def test_what_is_not_there_cannot_be_undeployed(place: Place, base: str):
    place.deploy(place.commit(), "ledger", way=PutAs.RELEASED)
    other = place.commit()

    answer = release(place, "record", "ledger", "--to", "prod", "--undeployed")

    assert answer.exit_code == NO
    assert f"ledger@{other[:10]} is not recorded in prod: there is {base[:10]}, " in answer.stderr
    gone = release(place, "record", "ledger", "--to", "prod", "--undeployed", "--version", base)
    assert gone.exit_code == DONE
    assert base not in {
        d.version for d in place.store.deployments("prod") if d.application == "ledger"
    }


def test_the_verdict_is_on_a_package_of_the_commit_or_on_none(place: Place, base: str):
    place.write(".gitignore", "dist\n")
    place.write(f"{SOURCES}/ledger/main.py", "rounds = 'up'\n")
    sha, history = place.commit(), GitHistory(place.root)
    packaged = place.root / "dist" / "cbs" / "ledger.pex"
    packaged.parent.mkdir(parents=True)
    pex(packaged, history, sha, "ledger")

    def said(*words: str) -> Result:
        return ask(place, "--no-run", "--json", *words)

    assert json.loads(said().stdout)["pex_sha256"] == sha256_of(packaged)
    older = said("--version", base)
    assert json.loads(older.stdout)["pex_sha256"] == ""
    assert "the verdict is on no package: " in older.stderr
    assert "it has cbs/ledger/main.py, which the commit lacks" in older.stderr

    refused = said("--version", base, "--pex", str(packaged))
    other = pex(place.root.parent / "gateway.pex", history, sha, "payments")
    of_another = said("--pex", str(other))

    assert refused.exit_code == of_another.exit_code == CANNOT_SAY
    assert "is not made of ledger@" in refused.stderr
    assert "it runs cbs.payments.main:main" in of_another.stderr
