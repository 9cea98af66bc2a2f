"""`cbs chaos` in its shortest forms, on the real thing: a round of kills, a round without any."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cbs.bank import SERVICES
from cbs.tools.cli import __main__ as program
from cbs.tools.lab.chaos import target_bank
from cbs.tools.lab.chaos.faults import CLOCK, FULL, PARTS, SEVER, SLOW, STALL, UNSAID
from cbs.tools.local.plan import SOURCE

ROOT = Path(__file__).parents[2]
KILLS = 9  # one round: every part, and NATS once more with all its data
assert program and target_bank  # run as `python -m` below


def chaos(*words):
    dist = next((d for d in (ROOT, ROOT / "dist") if has_pexes(d)), None)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CBS_")}
    from_pex = [] if dist is None else ["--from-pex", str(dist)]
    return subprocess.run(
        [sys.executable, "-P", "-m", "cbs.tools.cli", "chaos", "--json", *from_pex, *words],
        env=kept | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )


def has_pexes(dist):
    return all((dist / "cbs" / f"{service}.pex").exists() for service in SERVICES)


@pytest.mark.timeout(600)
def test_a_bank_whose_every_part_is_killed_loses_nothing():
    done = chaos("--kills", str(KILLS), "--seed", "2")

    found = whole(done)
    assert {f"kill {part}" for part in PARTS} | {"lose nats"} <= found["faults"].keys()


@pytest.mark.timeout(600)
def test_a_bank_cut_off_slowed_down_misdated_and_without_room_loses_nothing():
    kinds = (SEVER, STALL, SLOW, UNSAID, CLOCK, FULL)
    done = chaos("--rounds", "1", "--seed", "3", *(word for kind in kinds for word in only(kind)))

    found = whole(done)
    tried = {what.partition(" ")[0] for what in found["faults"]}
    # Without root nothing can be mounted, and it says so.
    assert tried | found["untried"].keys() == set(kinds)
    assert found["untried"].keys() <= ({FULL} if os.geteuid() != 0 else set())


def only(kind):
    return ("--only", kind)


def test_a_fault_that_there_is_not_is_wrong_usage():
    done = chaos(*only("earthquake"))

    assert done.returncode == 2
    assert "earthquake" in done.stderr


def whole(done):
    """What it found, if nothing is wrong with it."""
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["requests"]["accepted"] > 100
    assert found["requests"]["unanswered"] == 0
    assert found["violations"] == []
    assert {finding["outcome"] for finding in found["verify"]} == {"holds"}
    (bank,) = re.findall(r"^starting a bank in (.+)$", done.stderr, re.M)
    assert not Path(bank).parent.exists()
    return found
