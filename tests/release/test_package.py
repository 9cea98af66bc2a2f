"""A package is of a commit, or of another, and it is seen which: whatever its name and its age."""

import re

import pytest

from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.gate.package import NotBuilt, NotOfCommit, built, check
from cbs.tools.release.layout import SOURCES
from tests.release.packages import pex

MAIN = f"{SOURCES}/ledger/main.py"


@pytest.fixture
def versions(place):
    """Two commits of a ledger."""
    place.write(MAIN, "rounds = 'half even'\n")
    first = place.commit()
    place.write(MAIN, "rounds = 'up'\n")
    return first, place.commit()


def test_a_package_of_the_commit_is_of_it(place, versions, tmp_path):
    history = GitHistory(place.root)
    for sha in versions:
        check(pex(tmp_path / "ledger.pex", history, sha, "ledger"), history, sha, "ledger")


def test_of_a_commit_that_changes_nothing_of_it_it_is_as_well(place, versions, tmp_path):
    history = GitHistory(place.root)
    file = pex(tmp_path / "ledger.pex", history, versions[1], "ledger")
    place.write("README.md", "of no service\n")

    check(file, history, place.commit(), "ledger")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"files": {"cbs/ledger/main.py": "rounds = 'half even'\n"}}, "its cbs/ledger/main.py is"),
        (
            {"files": {"cbs/ledger/more.py": ""}},
            "it has cbs/ledger/more.py, which the commit lacks",
        ),
        ({"files": {"cbs/ledger/main.py": None}}, "it lacks cbs/ledger/main.py"),
        ({"wheel": "msgspec-2-py3-none-any.whl"}, "its msgspec is 2, and the lock file wants 1"),
        ({"wheel": "evil-1-py3-none-any.whl"}, "its evil is 1, and the lock file wants none"),
        ({"entry_point": "cbs.payments.main:main"}, "it runs cbs.payments.main:main"),
    ],
)
def test_whatever_differs_is_named(place, versions, tmp_path, how, why):
    history = GitHistory(place.root)
    file = pex(tmp_path / "ledger.pex", history, versions[1], "ledger", **how)

    with pytest.raises(NotOfCommit, match=re.escape(why)):
        check(file, history, versions[1], "ledger")


def test_of_many_differences_the_first_are_named_and_the_others_counted(place, versions, tmp_path):
    history = GitHistory(place.root)
    more = {f"cbs/ledger/more{n}.py": "" for n in range(9)}
    file = pex(tmp_path / "ledger.pex", history, versions[1], "ledger", files=more)

    with pytest.raises(NotOfCommit, match=r"and 6 more$"):
        check(file, history, versions[1], "ledger")


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_pex_is_said_to_be_none(place, versions, tmp_path, body):
    file = tmp_path / "ledger.pex"
    file.write_bytes(body)

    with pytest.raises(NotOfCommit, match="is no PEX"):
        check(file, GitHistory(place.root), versions[1], "ledger")


def test_it_is_made_of_a_clean_checkout_whatever_the_work_tree_has(place, tmp_path):
    """Its ./pants packs what it finds, as the real one does."""
    place.write(MAIN, "rounds = 'half even'\n")
    place.write("pants", PACKS)
    (place.root / "pants").chmod(0o755)
    sha = place.commit()
    place.write(MAIN, "rounds = 'not committed'\n")
    said: list[str] = []

    for _ in range(2):
        file = built(GitHistory(place.root), sha, "ledger", tmp_path / "packages", say=said.append)

    assert file.read_bytes().count(b"rounds = 'half even'") == 1
    assert said == [f"packaging ledger@{sha[:10]} from a clean checkout"]


PACKS = """#!/usr/bin/env python3
import json, pathlib, sys, zipfile
assert sys.argv[-2:] == ["package", "src/python/cbs/ledger:pex"], sys.argv
pathlib.Path("dist/cbs").mkdir(parents=True)
with zipfile.ZipFile("dist/cbs/ledger.pex", "w") as out:
    info = {"entry_point": "cbs.ledger.main:main", "distributions": {}}
    out.writestr("PEX-INFO", json.dumps(info))
    for file in pathlib.Path("src/python/cbs/ledger").rglob("*.py"):
        out.write(file, file.relative_to("src/python"))
"""


@pytest.mark.parametrize(
    ("pants", "why"),
    [("", "has no ./pants"), ("#!/bin/sh\necho no such target >&2; exit 1\n", "no such target")],
)
def test_what_cannot_be_made_says_why(place, versions, tmp_path, pants, why):
    sha = versions[1]
    if pants:
        place.write("pants", pants)
        (place.root / "pants").chmod(0o755)
        sha = place.commit()

    with pytest.raises(NotBuilt, match=why):
        built(GitHistory(place.root), sha, "ledger", tmp_path / "packages", say=print)
