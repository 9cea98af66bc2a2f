"""What the runner plants, and that it tells a test that looks from one that does not."""

import time
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants_of
from tests.mutation.trials import CannotSay, Verdict, baseline, tried

SECONDS_MAX = 60
RULE = '''
LIMITED = ("transfer", "cash")

def check(amount, limit=10):
    """Not a mutant."""
    if amount <= 0:
        raise Nothing
    if amount > limit and amount:
        raise TooMuch
'''
PLANTED = '''
element removed: module: LIMITED = ('transfer', 'cash') => LIMITED = ('cash',)
constant: module: LIMITED = ('transfer', 'cash') => LIMITED = ('transfer', 'cashx')
constant: check: def check(amount, limit=10): """Not a mutant.""" if =>\
 def check(amount, limit=11): """Not a mutant.""" if
boundary: check: if amount <= 0: raise Nothing => if amount < 0: raise Nothing
negation: check: if amount <= 0: raise Nothing => if amount > 0: raise Nothing
condition: check: if amount <= 0: raise Nothing => if True: raise Nothing
refusal removed: check: raise Nothing => pass
and/or: check: if amount > limit and amount: raise TooMuch =>\
 if amount > limit or amount: raise TooMuch
operand removed: check: if amount > limit and amount: raise TooMuch => if amount: raise TooMuch
checks swapped: check: if amount <= 0: raise Nothing if amount > limit and amount: raise TooMuch =>\
 if amount > limit and amount: raise TooMuch if amount <= 0: raise Nothing
'''
LOOKS = """
import pytest
from __rule import limited

@pytest.mark.parametrize(("amount", "within"), [(9, True), (10, True), (11, False)])
def test_limited(amount, within):
    assert limited(amount) is within
"""
DOES_NOT = "from __rule import limited\n\ndef test_limited():\n    limited(9)\n"


def test_each_mistake_is_planted_once_and_named():
    mutants = mutants_of(RULE, {})
    planted = {f"{each.operator}: {each.name}" for each in mutants}

    assert len(planted) == len(mutants)
    assert {*PLANTED.strip().splitlines()} - planted == set()
    assert not any("Not a mutant.x" in each for each in planted)


def verdicts(folder: Path, test: str) -> list[Verdict]:
    """Of a rule of one line."""
    # Names that are not imported by all trials beforehand.
    name, tests_of_it = "__rule", folder / "__tests.py"
    tests_of_it.write_text(test)
    source = folder / f"{name}.py"
    source.write_text("def limited(amount):\n    return amount <= 10\n")
    tests = baseline({name: source}, str(tests_of_it), without=frozenset(), url=None)
    (rule,) = tests.sources
    trials = [(rule, each) for each in rule.mutants]
    done = tried(trials, tests, urls=[None], until=time.monotonic() + SECONDS_MAX)
    return [verdict for _, _, verdict in done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_test_that_looks_catches_every_one(folder):
    found = verdicts(folder, LOOKS)

    assert set(found) == {Verdict.CAUGHT}
    assert len(found) > 3


def test_one_that_does_not_is_told_of_each(folder):
    assert set(verdicts(folder, DOES_NOT)) == {Verdict.SURVIVED}


def test_one_that_fails_with_nothing_wrong_says_nothing(folder):
    with pytest.raises(CannotSay, match="although nothing is wrong"):
        verdicts(folder, LOOKS.replace("(11, False)", "(11, True)"))
