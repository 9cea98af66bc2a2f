"""What a change would do to the matrix, before it is merged: for whoever reads a pull request."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import AsJson, Data, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.release.desk import EXIT, ReleaseDesk, Repository, Run, StorePlace, cannot_say
from cbs.tools.release.gate.environments import APPLICATIONS, LAPTOP, Environment, There
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import NONE, SHORT, GitHistory
from cbs.tools.release.gate.records import GateAnswer, Verdict, worst
from cbs.tools.release.gate.schemas import changes_between
from cbs.tools.release.layout import SOURCES

SHOWN_MAX = 20


class Talk(msgspec.Struct, kw_only=True):
    """How a pact changed: descriptions of interactions."""

    consumer: str
    provider: str
    added: list[str]
    removed: list[str]
    changed: list[str]


class Review(msgspec.Struct, kw_only=True):
    """`applications` are those that the change touches; a verdict for each and each environment,
    of which one is the base itself, as if all of it were deployed. A service that comes with the
    change is deployed first. `orders`, by environment, has those that can all go, in an order in
    which they can; `deadlocks` those of whom each breaks somebody before another has gone."""

    base: str
    version: str
    applications: list[str]
    verdicts: list[Verdict]
    talks: list[Talk]
    breaking: list[str]
    compatible: int
    orders: dict[str, list[str]] = {}
    deadlocks: dict[str, list[str]] = {}

    @property
    def answer(self) -> GateAnswer:
        return worst(verdict.answer for verdict in self.verdicts)


def review(
    base: Annotated[str, typer.Option(help="What the change is to be merged into.")] = "main",
    version: Annotated[str, typer.Option(help="The change.")] = "HEAD",
    run: Run = True,
    markdown: Annotated[
        Path | None, typer.Option(help="Append it to this file, as a pull request shows it.")
    ] = None,
    repository: Repository = None,
    store: StorePlace = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say what a change does to contracts and to every environment. Exit 0: nothing breaks. 1: it
    breaks somebody. 3: that cannot be said."""
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        old, new = desk.history.sha(base), desk.history.sha(version)
        names = dict.fromkeys([*desk.store.environments(), LAPTOP])
        others = [desk.environment(name, None, Folder.at(data)) for name in names]
        environments = [whole(desk.history, base, old), *(each for each in others if each.there)]
        found = review_of(desk.history, desk.gate(run=run, key=None), old, new, environments)
    text = as_markdown(found)
    if markdown is not None:
        with markdown.open("a") as file:
            file.write(text + "\n")
    if as_json:
        print_json(found)
    else:
        typer.echo(text)
    raise typer.Exit(EXIT[found.answer])


def whole(history: GitHistory, base: str, sha: str) -> Environment:
    """As if all of the base were deployed."""
    there = [There(each, sha) for each in APPLICATIONS if _has(history, sha, each)]
    told = frozenset(APPLICATIONS)
    return Environment(f"all of {base}", there, [], seen=True, told=told)


def review_of(
    history: GitHistory, gate: Gate, old: str, new: str, environments: list[Environment]
) -> Review:
    first = [
        There(each, new)
        for each in SERVICES
        if _has(history, new, each) and not _has(history, old, each)
    ]
    touched = [each for each in APPLICATIONS if _touches(history, each, old, new)]
    changes = [change for service in SERVICES for change in _named(history, service, old, new)]
    verdicts: list[Verdict] = []
    orders: dict[str, list[str]] = {}
    deadlocks: dict[str, list[str]] = {}
    for each in environments:
        environment = replace(each, there=[*each.there, *first])
        found = [gate.can_i_deploy(application, new, environment) for application in touched]
        verdicts += found
        if any(verdict.answer is GateAnswer.NO for verdict in found):
            order, left = _order(gate, new, environment, touched)
            if not left:
                orders[each.name] = order
            elif len(left) > 1:
                deadlocks[each.name] = left
    return Review(
        base=old,
        version=new,
        applications=touched,
        verdicts=verdicts,
        orders=orders,
        deadlocks=deadlocks,
        talks=_talks(history, old, new),
        breaking=[text for text, breaking in changes if breaking],
        compatible=sum(not breaking for _, breaking in changes),
    )


def _order(
    gate: Gate, new: str, environment: Environment, applications: list[str]
) -> tuple[list[str], list[str]]:
    """One after the other, each by a yes that may be due to those before it; and who is left."""
    order, left = list[str](), list(applications)
    while True:
        verdicts = (gate.can_i_deploy(each, new, environment) for each in left)
        may = next((v.application for v in verdicts if v.answer is GateAnswer.YES), None)
        if may is None:
            return order, left
        order.append(may)
        left.remove(may)
        others = [each for each in environment.there if each.application != may]
        environment = replace(environment, there=[*others, There(may, new)])


def _has(history: GitHistory, sha: str, application: str) -> bool:
    """A client is always there."""
    place = f"{SOURCES}/{application}"
    return application not in SERVICES or history.tree_id(sha, place) != NONE


def _touches(history: GitHistory, application: str, old: str, new: str) -> bool:
    """A service by its sources, a client by its pacts."""
    if application in SERVICES:
        place = f"{SOURCES}/{application}"
        if history.tree_id(old, place) != history.tree_id(new, place):
            return True
        if history.content(application, old) != history.content(application, new):
            return True
    return _pacts_of(history, application, old) != _pacts_of(history, application, new)


def _pacts_of(history: GitHistory, application: str, sha: str) -> set[str]:
    return {pact.id for pact in history.pacts(sha) if pact.consumer == application}


def _named(history: GitHistory, service: str, old: str, new: str) -> list[tuple[str, bool]]:
    changes = changes_between(history, service, old, new)
    return [(f"{service} {each.where}: {each.what}", each.breaking) for each in changes]


def _talks(history: GitHistory, old: str, new: str) -> list[Talk]:
    before, after = _interactions(history, old), _interactions(history, new)
    talks = []
    for pair in sorted(before.keys() | after.keys()):
        was, now = before.get(pair, {}), after.get(pair, {})
        talk = Talk(
            consumer=pair[0],
            provider=pair[1],
            added=sorted(now.keys() - was.keys()),
            removed=sorted(was.keys() - now.keys()),
            changed=sorted(name for name in was.keys() & now.keys() if was[name] != now[name]),
        )
        if talk.added or talk.removed or talk.changed:
            talks.append(talk)
    return talks


def _interactions(history: GitHistory, sha: str) -> dict[tuple[str, str], dict[str, object]]:
    return {
        (pact.consumer, pact.provider): {
            each["description"]: each for each in json.loads(pact.body)["interactions"]
        }
        for pact in history.pacts(sha)
    }


def as_markdown(review: Review) -> str:
    """As Markdown: the answer first, then what says no, then what else there is to know."""
    head = {
        GateAnswer.YES: "nobody breaks",
        GateAnswer.NO: "**somebody breaks**",
        GateAnswer.UNKNOWN: "**it cannot be said**",
    }[review.answer]
    lines = [f"### Contracts: {head}", ""]
    touched = ", ".join(review.applications) or "no application"
    lines.append(f"`{review.base[:SHORT]}` to `{review.version[:SHORT]}` touches {touched}.")
    if review.verdicts:
        lines += ["", "| application | environment | answer | why |", "|---|---|---|---|"]
        lines += [_row(verdict) for verdict in review.verdicts]
    for name, order in review.orders.items():
        lines.append(f"\nIn {name}, in this order: {', '.join(order)}.")
    for name, left in review.deadlocks.items():
        lines.append(
            f"\nIn {name} none of {', '.join(left)} can go before the others: say both, the old and"
            " the new, in one of them first."
        )
    for talk in review.talks:
        what = [
            f"{word}: {', '.join(names)}"
            for word, names in (
                ("new", talk.added),
                ("changed", talk.changed),
                ("gone", talk.removed),
            )
            if names
        ]
        lines.append(f"\n- {talk.consumer} of {talk.provider}: {'; '.join(what)}")
    if review.breaking:
        lines += ["", "Changes of published schemas that could break a client without a pact:", ""]
        lines += [f"- {each}" for each in review.breaking[:SHOWN_MAX]]
        if len(review.breaking) > SHOWN_MAX:
            lines.append(f"- and {len(review.breaking) - SHOWN_MAX} more: ./cbs contracts diff")
    if review.compatible:
        lines += ["", f"{review.compatible} other changes of published schemas break nobody."]
    return "\n".join(lines)


def _row(verdict: Verdict) -> str:
    against = [reason for reason in verdict.reasons if reason.answer is not GateAnswer.YES]
    why = "<br>".join(f"{reason.why}. {reason.todo}".replace("|", "\\|") for reason in against)
    why = why or f"{len(verdict.reasons)} reasons, all yes"
    return f"| {verdict.application} | {verdict.environment} | {verdict.answer} | {why} |"
