"""What must hold between two versions, and what is said of it, with what would change it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cbs.tools.release.gate.environments import Environment, There
from cbs.tools.release.gate.history import SHORT, GitHistory, Pact
from cbs.tools.release.gate.records import Reason, Result, no, unknown, yes
from cbs.tools.release.gate.runner import NotDerived, Run
from cbs.tools.release.gate.schemas import breaking_between
from cbs.tools.release.layout import LOCK

# A verdict has to fit into the audit log.
WHY_SHOWN_MAX, WHY_CHARACTERS_MAX, ALIKE_MAX, ERROR_LINES_MAX = 3, 300, 3, 12


GATEWAY, OVER_HTTP = "gateway", '"Synchronous/HTTP"'


@dataclass(frozen=True, slots=True)
class Need:
    """A pact that must hold: of a consumer as it is (to be) deployed, with a provider likewise. The
    gateway provides what is behind it, too. `over` is the commit with whose migrations the provider
    must do, where they are more than its own."""

    pact: Pact
    consumer: There
    provider: There
    over: str = ""

    @property
    def is_empty(self) -> bool:
        return not json.loads(self.pact.body).get("interactions")

    @property
    def named(self) -> str:
        over = f" over the schema of {self.over[:SHORT]}" if self.over else ""
        return f"{self.provider}{over}"

    @property
    def pair(self) -> str:
        return f"{self.consumer} with {self.named}"


def needs_of(
    history: GitHistory, new: There, environment: Environment, reasons: list[Reason]
) -> list[Need]:
    """Of a new version: what it asks of those that are there, and what they ask of it. What stands
    in its way already is one of the `reasons`."""
    needs = []
    own = [pact for pact in history.pacts(new.version) if pact.consumer == new.application]
    for pact in own:
        versions = environment.versions(pact.provider)
        needs += [Need(pact, new, There(pact.provider, version)) for version in versions]
        if not versions and pact.provider not in environment.unknown:
            reasons.append(_not_deployed(new, pact.provider, environment.name))
    for there in environment.there:
        if there.application != new.application:
            needs += _asked_by(history, there, new)
            if not history.pacts(there.version):
                reasons += _by_schemas(history, there, new)
    if new.application == GATEWAY:
        needs += _behind(history, new, environment)
    return needs


def over_newer_schemas(
    history: GitHistory, new: There, environment: Environment, notes: list[str]
) -> list[Need]:
    """Where a version that is there, or the new one, lacks migrations that the other brings, it has
    to do with them: while the new one goes out, or after somebody has gone back."""
    needs = []
    for version in environment.versions(new.application):
        before = history.migrations(version, new.application).keys()
        after = history.migrations(new.version, new.application).keys()
        older, newer = (version, new.version) if after > before else (new.version, version)
        if not (after > before or before > after):
            continue
        if history.file(older, LOCK) != history.file(newer, LOCK):
            notes.append(
                f"{There(new.application, older)} was not tried over the newer schema:"
                " the two have other packages"
            )
            continue
        for there in environment.there:
            if there.application != new.application:
                asked = _asked_by(history, there, There(new.application, older))
                needs += [replace(need, over=newer) for need in asked]
    return needs


def _asked_by(history: GitHistory, consumer: There, provider: There) -> list[Need]:
    pair = (consumer.application, provider.application)
    return [
        Need(pact, consumer, provider)
        for pact in history.pacts(consumer.version)
        if (pact.consumer, pact.provider) == pair
    ]


def _by_schemas(history: GitHistory, consumer: There, new: There) -> list[Reason]:
    """For a consumer of a commit without pacts: whether what it was made for was taken away."""
    talk = [
        pact
        for pact in history.pacts(new.version)
        if (pact.consumer, pact.provider) == (consumer.application, new.application)
    ]
    if not talk:
        return []
    broken = breaking_between(history, new.application, consumer.version, new.version)
    if not broken:
        why = f"{consumer} has no pacts, but nothing it can have been made for has changed"
        return [yes(why)]
    why = f"{consumer} has no pacts, and {new.application} has since changed: {broken[0]}"
    todo = f"deploy a {consumer.application} that has pacts, then this"
    return [unknown(why, todo)]


def _behind(history: GitHistory, new: There, environment: Environment) -> list[Need]:
    """What clients ask of the services through a new gateway; those are as its commit has them."""
    return [
        Need(pact, there, new)
        for there in environment.there
        for pact in history.pacts(there.version)
        if pact.consumer == there.application not in (GATEWAY, new.application)
        and OVER_HTTP in pact.body.decode()
    ]


def together(missing: Iterable[Need]) -> Iterator[tuple[str, str, list[Need]]]:
    """What one bank verifies, by version and schema. Two versions of a consumer need two: they ask
    under the same keys and for the same people, so what one leaves behind would fail the other."""
    waiting = list(missing)
    while waiting:
        version, over = waiting[0].provider.version, waiting[0].over
        bank: dict[tuple[str, str], Need] = {}
        for need in waiting:
            if (need.provider.version, need.over) == (version, over):
                bank.setdefault((need.pact.consumer, need.pact.provider), need)
        yield version, over, list(bank.values())
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


def _not_deployed(new: There, provider: str, environment: str) -> Reason:
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
        no(f"{need.named} breaks {need.consumer}, {what}: {told}", _todo(need, application))
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
    if need.over:
        return "let the migration only add, so that the older version works with it (expand)"
    if application == provider:
        return (
            f"keep what {consumer}@{need.consumer.version[:SHORT]} reads beside the new (expand);"
            f" take it away when no deployed {consumer} reads it (contract)"
        )
    return f"deploy a {provider} that gives this first"
