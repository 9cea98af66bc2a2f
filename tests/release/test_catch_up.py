"""Every build is known by branch, and what nobody verified is verified, however often it died."""

import json

import pytest
from typer.testing import CliRunner, Result

from cbs.tools.cli.main import app_of
from cbs.tools.release.catch_up import Pair, needed, newest
from cbs.tools.release.gate import matrix
from cbs.tools.release.gate.environments import environment
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.gate.page import html
from cbs.tools.release.gate.records import LOG, log_link, now
from cbs.tools.release.gate.signatures import is_as_signed, sign
from tests.release.place import OPERATOR, Place

DONE, NO, CANNOT_SAY = 0, 1, 3
RUN = "https://forge.bank.example/cbs/actions/runs/7"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CBS_DATA", str(tmp_path / "bank"))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv(LOG, RUN)
    monkeypatch.delenv("CBS_RELEASE_KEY", raising=False)


def release(place: Place, *words: str) -> Result:
    where = ("--repository", str(place.root), "--store", str(place.root.with_name("store")))
    return CliRunner().invoke(app_of(), ["release", *words, *where])


def pairs(place: Place, *words: str) -> tuple[int, list[Pair]]:
    done = release(place, "catch-up", "--no-run", "--json", *words)
    return done.exit_code, [Pair(**each) for each in json.loads(done.stdout)]


def verify(place: Place, main: str = "main") -> None:
    """What `catch-up` does, with a bank that only says."""
    history = GitHistory(place.root)
    prod = environment("prod", place.store.recorded("prod"), None, history)
    heads = newest(history, place.store.builds(), main)
    gate = Gate(
        history=history, store=place.store, run=place.bank, say=lambda _: None, key=OPERATOR
    )
    gate.results(list(needed(history, prod, heads, main)), prod)


def branched(place: Place, name: str) -> str:
    place.git("switch", "--quiet", "--create", name)
    place.pact("partner", "ledger", "ask", f"ask of {name}")
    sha = place.commit()
    assert release(place, "publish").exit_code == DONE
    place.git("switch", "--quiet", "main")
    return sha


def test_a_build_that_changed_no_contract_is_known_by_its_branch_and_its_run(place: Place, base):
    done = release(place, "publish", "--json")
    assert done.exit_code == DONE, done.output

    (build,) = place.store.builds()

    assert (build.version, build.branch, build.log) == (base, "main", RUN)
    assert {each["application"] for each in json.loads(done.stdout)} >= {"ledger", "partner"}


def test_what_nobody_verified_is_verified_once_and_then_found(place: Place, base: str):
    code, found = pairs(place)
    assert code == CANNOT_SAY
    assert {each.result for each in found} == {"never verified"} and len(found) == 3

    verify(place)
    assert len(place.bank.pairs) == 3
    verify(place)

    assert len(place.bank.pairs) == 3
    code, found = pairs(place)
    assert code == DONE
    assert {each.result for each in found} == {"holds"}


def test_a_run_that_died_is_made_up_for_by_the_next(place: Place, base: str):
    place.bank.error = "killed"
    verify(place)
    assert pairs(place)[0] == CANNOT_SAY

    place.bank.error = ""
    verify(place)

    assert pairs(place)[0] == DONE


def test_a_result_that_was_edited_is_made_again(place: Place, base: str):
    verify(place)
    kept = place.store.results()[0]
    kept.by = "somebody else"
    place.store.keep(kept)

    verify(place)

    assert len(place.bank.pairs) == 4
    assert all(is_as_signed(each) for each in place.store.results())


def test_what_a_branch_wishes_for_is_verified_early_and_breaks_nobody(place: Place, base: str):
    sha = branched(place, "wish")
    verify(place)
    wished = [each for each in pairs(place)[1] if each.consumer_version == sha]
    assert {each.provider_version for each in wished} == {base}
    assert not any(each.binds for each in wished)

    place.bank.breaks = ("partner-ledger",)

    other = branched(place, "another")
    verify(place)
    code, found = pairs(place)
    assert code == DONE
    broken = {each.consumer_version for each in found if each.result == "broken"}
    assert broken == {other}


def test_a_new_contract_of_main_is_held_against_every_deployed_provider(place: Place, base: str):
    place.pact("partner", "ledger", "ask", "ask more")
    tip = place.commit()
    place.bank.breaks = ("partner-ledger",)
    verify(place)

    code, found = pairs(place)

    assert code == NO
    (with_deployed,) = [
        each
        for each in found
        if (each.consumer_version, each.provider_version) == (tip, base) and each.result == "broken"
    ]
    assert with_deployed.binds and "$.x is gone" in with_deployed.why


def test_a_branch_that_is_merged_is_not_looked_at_any_more(place: Place, base: str):
    sha = branched(place, "done")
    place.git("merge", "--quiet", "done")

    heads = newest(GitHistory(place.root), place.store.builds(), "main")

    assert heads == {"main": sha}


def test_a_build_of_a_commit_that_this_clone_lacks_stops_nothing(place: Place, base: str):
    branched(place, "gone")
    (build,) = place.store.builds()
    build.version, build.at = "f" * 40, now()
    place.store.note(build)

    assert newest(GitHistory(place.root), place.store.builds(), "main") == {"main": base}


def test_a_result_says_where_its_run_can_be_read(place: Place, base: str):
    branched(place, "feature")
    place.git("switch", "--quiet", "feature")
    verify(place)
    assert {each.log for each in place.store.results()} == {RUN}

    history = GitHistory(place.root)
    prod = environment("prod", place.store.recorded("prod"), None, history)
    found = matrix.matrix_of(history, place.store, history.sha("feature"), [prod])

    assert {each.log for each in found.cells} == {RUN}
    assert f"@{history.sha('feature')[:10]} of feature" in html(found)
    assert f'<a href="{RUN}">' in html(found)


def test_a_result_of_before_there_were_logs_is_still_as_it_was_signed(place: Place, base: str):
    place.may("ledger", base)
    kept = place.store.results()[0]
    kept.log = ""
    sign(kept, OPERATOR)
    assert is_as_signed(kept)

    kept.log = RUN

    assert not is_as_signed(kept)


@pytest.mark.parametrize(
    ("environ", "link"),
    [
        ({}, ""),
        ({LOG: "http://127.0.0.1:8080/job/7"}, "http://127.0.0.1:8080/job/7"),
        ({LOG: "javascript:alert(1)"}, ""),
        ({LOG: 'https://x/"><script>'}, ""),
        (
            {
                "GITHUB_SERVER_URL": "https://forge.bank.example",
                "GITHUB_REPOSITORY": "bank/cbs",
                "GITHUB_RUN_ID": "12",
            },
            "https://forge.bank.example/bank/cbs/actions/runs/12",
        ),
    ],
)
def test_only_what_is_a_link_becomes_one(environ, link):
    assert log_link(environ) == link
