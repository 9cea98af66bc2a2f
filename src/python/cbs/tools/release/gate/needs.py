"""What must hold between two versions, and what is said of it, with what would change it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cbs.tools.release.gate.environments import Environment, There
from cbs.tools.release.gate.history import SHORT, GitHistory, Pact
from cbs.tools.release.gate.records import Reason, Result, no, unknown, yes
from cbs.tools.release.gate.runner import NotDerived, Run

# A verdict has to fit into the audit log.
WHY_SHOWN_MAX, WHY_CHARACTERS_MAX, ALIKE_MAX, ERROR_LINES_MAX = 3, 300, 3, 12


GATEWAY, OVER_HTTP = "gateway", '"Synchronous/HTTP"'


@dataclass(frozen=True, slots=True)
class Need:
    """A pact that must hold: of a consumer as it is (to be) deployed, with a provider likewise. The
    gateway provides what is behind it, too."""

    pact: Pact
    consumer: There
    provider: There

    @property
    def is_empty(self) -> bool:
        return not json.loads(self.pact.body).get("interactions")

    @property
    def pair(self) -> str:
        return f"{self.consumer} with {self.provider}"


def behind(history: GitHistory, new: There, environment: Environment) -> list[Need]:
    """What clients ask of the services through a new gateway; those are as its commit has them."""
    return [
        Need(pact, there, new)
        for there in environment.there
        for pact in history.pacts(there.version)
        if pact.consumer == there.application not in (GATEWAY, new.application)
        and OVER_HTTP in pact.body.decode()
    ]


def together(missing: Iterable[Need]) -> Iterator[tuple[str, list[Need]]]:
    """What one bank verifies, by version. Two versions of a consumer need two: they ask under the
    same keys and for the same people, so what one leaves behind would fail the other."""
    waiting = list(missing)
    while waiting:
        version = waiting[0].provider.version
        bank: dict[tuple[str, str], Need] = {}
        for need in waiting:
            if need.provider.version == version:
                bank.setdefault((need.pact.consumer, need.pact.provider), need)
        yield version, list(bank.values())
        waiting = [need for need in waiting if need not in bank.values()]


def without_pacts(version: There) -> Reason:
    why = f"{version} has no pacts: nobody knows what it reads"
    todo = "release a commit in which ./cbs contracts write was run"
    return unknown(why, todo)


def in_the_dark(history: GitHistory, new: There, environment: Environment) -> list[Reason]:
    """Whom it talks to, and of whom nobody can say which version is there."""
    pacts = history.pacts(new.version)
    known = {p.provider for p in pacts if p.consumer == new.application}
    known |= {p.consumer for p in pacts if p.provider == new.application} | {new.application}
    todo = "fetch its commit; if it is another: ./cbs release record {} --version … --to {}"
    return [
        unknown(
            f"{other} is in {environment.name} in a version that cannot be looked up",
            todo.format(other, environment.name),
        )
        for other in sorted(environment.unknown & known)
    ]


def never_told(history: GitHistory, new: There, environment: Environment) -> list[Reason]:
    """Consumers of whom nobody has ever said whether they are there."""
    versions = (new.version, *environment.versions(new.application))
    consumers = {
        pact.consumer
        for version in versions
        for pact in history.pacts(version)
        if pact.provider == new.application
    }
    where, known = environment.name, {each.application for each in environment.there}
    return [
        unknown(
            f"{each} reads {new.application}, and nobody has said whether it is in {where}",
            f"./cbs release record {each} --version … --to {where}, or --absent",
        )
        for each in sorted(consumers - {new.application} - environment.told - known)
    ]


def otherwise_written(new: There, run: Run) -> list[Reason]:
    """Of what it says of itself, that which its code does not say."""
    try:
        stale = run.derived(new.version, new.application)
    except NotDerived as error:
        why = f"the contracts of {new} could not be written anew: {error}"
        return [unknown(why, "mend this version")]
    why = f"{', '.join(stale)} of {new} is not what its code says"
    return [no(why, "./cbs contracts write, and release that")] if stale else []


def not_deployed(new: There, provider: str, environment: str) -> Reason:
    why = f"{new} asks {provider}, and no {provider} is deployed to {environment}"
    todo = f"deploy {provider} first; if it is there: ./cbs release record {provider} …"
    return no(why, todo)


def held(need: Need, result: Result | None, application: str) -> list[Reason]:
    """What a result says of it, if there is one."""
    if need.is_empty:
        why = f"the pact of {need.pair} has no interactions: it promises nothing"
        return [unknown(why, "write what the consumer reads, and ./cbs contracts write")]
    if result is None:
        why = f"the pact of {need.pair} was never verified"
        return [unknown(why, "ask again without --no-run")]
    if result.held:
        why = f"the pact of {need.pair} holds ({len(result.outcomes)} interactions)"
        return [yes(why)]
    return _broken(need, result, application)


def _broken(need: Need, result: Result, application: str) -> list[Reason]:
    """What does not hold of a pact; what many interactions have in common is told once."""
    shared: dict[str, list[str]] = {}
    for each in result.broken:
        told = "; ".join(why[:WHY_CHARACTERS_MAX] for why in each.why[:WHY_SHOWN_MAX])
        shared.setdefault(told, []).append(each.description)
    return [
        no(f"{need.provider} breaks {need.consumer}, {what}: {told}", _todo(need, application))
        for told, descriptions in shared.items()
        for what in alike(descriptions)
    ]


def alike(descriptions: list[str]) -> list[str]:
    """A few by themselves; of many some, and how many more."""
    if len(descriptions) <= ALIKE_MAX:
        return descriptions
    more = len(descriptions) - ALIKE_MAX
    return [f"{', '.join(descriptions[:ALIKE_MAX])} and {more} more"]


def not_verified(needs: Sequence[Need], application: str, error: str) -> Reason:
    """That the version in hand does not come up is a no; of another's we cannot say."""
    need = needs[0]
    consumers = ", ".join(dict.fromkeys(str(each.consumer) for each in needs))
    told = "\n".join(error.splitlines()[-ERROR_LINES_MAX:])
    why = f"what {consumers} ask of {need.provider} was not verified: {told}"
    if need.provider.application == application:
        return no(why, "mend this version")
    return unknown(why, f"deploy a {need.provider.application} that can be")


def _todo(need: Need, application: str) -> str:
    consumer, provider = need.consumer.application, need.provider.application
    if application == provider:
        return (
            f"keep what {consumer}@{need.consumer.version[:SHORT]} reads beside the new (expand);"
            f" take it away when no deployed {consumer} reads it (contract)"
        )
    return f"deploy a {provider} that gives this first"
