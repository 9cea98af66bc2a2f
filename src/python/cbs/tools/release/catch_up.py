"""What was never verified, or whose verification died, is verified: asked again, it goes on there.

A run of it is nothing to rely on, so whatever starts it may start it as often as it likes.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, Data, print_json
from cbs.tools.local.folder import Folder
from cbs.tools.release.desk import (
    Key,
    ReleaseDesk,
    Repository,
    Run,
    StorePlace,
    cannot_say,
    progress,
)
from cbs.tools.release.gate.environments import APPLICATIONS, Environment, There
from cbs.tools.release.gate.history import SHORT, GitHistory, NoSuchVersion
from cbs.tools.release.gate.matrix import BROKEN, HOLDS, UNKNOWN
from cbs.tools.release.gate.needs import Need
from cbs.tools.release.gate.records import RESULT_DAYS_MAX, Build, Result, now


class Pair(msgspec.Struct, kw_only=True):
    """A consumer's version with a provider's. `binds`: both are of main, or deployed; what only
    some branch wishes for breaks nobody yet."""

    consumer: str
    consumer_version: str
    provider: str
    provider_version: str
    binds: bool
    result: str
    why: str = ""


def catch_up(
    main: Annotated[str, typer.Option(help="The branch that all others go into.")] = "main",
    run: Run = True,
    key: Key = None,
    repository: Repository = None,
    store: StorePlace = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Verify what nobody has: the newest build of main and of each branch with all that is deployed
    anywhere, either way round. Exit 1: something that binds breaks. 3: something is not verified.
    """
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        heads = newest(desk.history, desk.store.builds(), main)
        found: dict[tuple[str, str, str, str], Pair] = {}
        for name in desk.store.environments():
            environment = desk.environment(name, None, Folder.at(data))
            gate = desk.gate(run=run, key=key)
            needs = list(needed(desk.history, environment, heads, main))
            progress(f"{name}: {len(needs)} pairs")
            known = (environment.promoted, heads.get(main, ""), *_deployed(environment))
            for need, result in gate.results(needs, environment):
                pair = _pair(need, result, known)
                before = found.get(_names(pair), pair)
                pair.binds |= before.binds
                found[_names(pair)] = pair
    pairs = sorted(found.values(), key=_names)
    if as_json:
        print_json(pairs)
    else:
        for each in pairs:
            _show(each)
    broken = any(each.binds and each.result == BROKEN for each in pairs)
    left = any(each.result == UNKNOWN for each in pairs)
    raise typer.Exit(NO if broken else CANNOT_SAY if left else DONE)


def newest(history: GitHistory, builds: list[Build], main: str) -> dict[str, str]:
    """Branch -> its newest commit: of main, and of what was built lately and is not in main yet. A
    commit that this clone lacks is not looked at."""
    heads: dict[str, str] = {}
    for build in sorted(builds, key=lambda each: each.at):
        if build.branch and (now() - build.at).days < RESULT_DAYS_MAX:
            heads[build.branch] = build.version
    try:
        heads[main] = history.sha(main)
    except NoSuchVersion:
        progress(f"this clone has no {main}: --main names the branch that all others go into")
    there = {branch: sha for branch, sha in heads.items() if _is_here(history, sha)}
    if (tip := there.get(main)) is None:
        return there
    return {
        branch: sha for branch, sha in there.items() if branch == main or history.commits(tip, sha)
    }


def needed(
    history: GitHistory, environment: Environment, heads: dict[str, str], main: str
) -> Iterator[Need]:
    """Each head with what is deployed, and with main: as a consumer, and as a provider."""
    tip = heads.get(main)
    merged = [There(each, tip) for each in APPLICATIONS] if tip else []
    others = [*environment.there, *merged]
    for sha in heads.values():
        for pact in history.pacts(sha):
            providers = (each for each in others if each.application == pact.provider)
            new = There(pact.consumer, sha)
            yield from (Need(pact, new, provider) for provider in providers)
        for consumer in others:
            for pact in history.pacts(consumer.version):
                if pact.consumer == consumer.application:
                    yield Need(pact, consumer, There(pact.provider, sha))


def _is_here(history: GitHistory, sha: str) -> bool:
    try:
        return bool(history.sha(sha))
    except NoSuchVersion:
        return False


def _deployed(environment: Environment) -> list[str]:
    return [each.version for each in environment.there]


def _pair(need: Need, result: Result | None, known: tuple[str, ...]) -> Pair:
    broken = result.broken if result else []
    why = "; ".join(f"{each.description}: {', '.join(each.why)}" for each in broken)
    unverified = result is None or bool(result.error)
    return Pair(
        consumer=need.consumer.application,
        consumer_version=need.consumer.version,
        provider=need.provider.application,
        provider_version=need.provider.version,
        binds=need.consumer.version in known and need.provider.version in known,
        result=UNKNOWN if unverified else BROKEN if broken else HOLDS,
        why=why or (result.error if result else ""),
    )


def _names(pair: Pair) -> tuple[str, str, str, str]:
    return pair.consumer, pair.provider, pair.consumer_version, pair.provider_version


def _show(pair: Pair) -> None:
    wished = "" if pair.binds else ", which no deployed version and not main asks for"
    typer.echo(
        f"{pair.result:14} {pair.consumer}@{pair.consumer_version[:SHORT]} with"
        f" {pair.provider}@{pair.provider_version[:SHORT]}{wished if pair.result == BROKEN else ''}"
    )
    if pair.result != HOLDS and pair.why:
        typer.echo(f"               {pair.why}")
