"""The states that pacts name, brought about over the bank's own interfaces; unknown ones fail.

Those of a service stand in a module of provider_states; what can be of every service stands here.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from cbs.bank import SERVICES
from cbs.tools.release.provider_verification import provider_states
from cbs.tools.release.provider_verification.world import WITHOUT, BankUnderTest, NotAsAsked

Params = Mapping[str, Any]
Values = dict[str, Any]
Bring = Callable[[BankUnderTest, str, Params], Values | None]

STATES: dict[str, Bring] = {}
BRANCH = 77
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
    try:
        bring = STATES[name]
    except KeyError:
        raise UnknownState(f"no state {name!r}; there is: {', '.join(sorted(STATES))}") from None
    return bring(world, provider, params) or {}


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


@state("a fact was set aside")
def _set_aside(world: BankUnderTest, provider: str, _params: Params) -> None:
    assert provider in SERVICES, provider
    world.execute(provider, SET_ASIDE, 2**40 + world.serial())
