"""The states that pacts name, brought about over the bank's own interfaces; unknown ones fail.

Those of a service stand in a module of provider_states; what can be of every service stands here.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec

from cbs.bank import SERVICES
from cbs.tools.release.provider_verification import provider_states
from cbs.tools.release.provider_verification.world import WITHOUT, BankUnderTest, NotAsAsked

Params = Mapping[str, Any]
Values = dict[str, Any]
Bring = Callable[[BankUnderTest, str, Params], Values | None]

STATES: dict[str, Bring] = {}
BRANCH = 77
ONE_STATE = "cbs.tools.release.provider_verification.one_state"
STATE_SECONDS_MAX, SHOWN_MAX = 60, 300
REASON = {"reason": "for a contract"}
SET_ASIDE = """
    INSERT INTO dead_letter (source, position, body, error, at)
    VALUES ('ledger', $1, '{"specversion": "1.0"}', 'it could not be digested', now())
    ON CONFLICT DO NOTHING"""


class UnknownState(NotAsAsked):
    """No function brings this state about: write one in provider_states."""


def bring_about(world: BankUnderTest, provider: str, name: str, params: Params) -> Values:
    """Returns what the provider made (ids), by name. Raises NotAsAsked."""
    for module in iter_modules(provider_states.__path__):
        import_module(f"{provider_states.__name__}.{module.name}")
    if name in STATES:
        return STATES[name](world, provider, params) or {}
    if world.candidate is not None:
        return _by_candidate(world, world.candidate, provider, name, params)
    raise UnknownState(f"no state {name!r}; there is: {', '.join(sorted(STATES))}")


def _by_candidate(
    world: BankUnderTest, tree: Path, provider: str, name: str, params: Params
) -> Values:
    """A state that is new comes with the commit that wants it; one that is there never does."""
    words = [str(world.folder.root), provider, name, msgspec.json.encode(params).decode()]
    done = subprocess.run(
        [sys.executable, "-P", "-m", ONE_STATE, *words],
        env=os.environ | {"PYTHONPATH": str(tree / "src" / "python")},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=STATE_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise UnknownState(f"the candidate's own state {name!r}: {done.stderr[-SHOWN_MAX:]}")
    return msgspec.json.decode(done.stdout, type=dict[str, Any])


def state(name: str) -> Callable[[Bring], Bring]:
    def remember(bring: Bring) -> Bring:
        assert name not in STATES, name
        STATES[name] = bring
        return bring

    return remember


@state("permission-refused happened")
def _somebody_is_refused(world: BankUnderTest, provider: str, _params: Params) -> None:
    answer = world.ask("GET", f"/v1/{provider}/dead-letters", user=WITHOUT)
    if answer.status != 403:
        raise NotAsAsked(f"{WITHOUT} was not refused: {answer.said}")


@state("request-answered happened")
def _a_request_is_answered(world: BankUnderTest, provider: str, _params: Params) -> None:
    answer = world.ask("POST", f"/v1/{provider}/dead-letters/ledger/{2**50}/replay")
    if answer.status != 404:
        raise NotAsAsked(f"there is no such dead letter, and it was answered: {answer.said}")


@state("a fact was set aside")
def _set_aside(world: BankUnderTest, provider: str, _params: Params) -> None:
    assert provider in SERVICES, provider
    world.execute(provider, SET_ASIDE, 2**40 + world.serial())
