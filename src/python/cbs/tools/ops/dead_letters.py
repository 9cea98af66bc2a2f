"""Facts that a service could not digest: looked at and tried again over the public API."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
import typer
from rich.table import Table

from cbs.bank import SERVICES
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    NO,
    AsJson,
    Data,
    ends_with,
    print_json,
    print_table,
)
from cbs.tools.local.folder import Folder
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, PublicApi, RefusedByBank

USER = "operator"
LETTERS_SHOWN_MAX = 1_000
ERROR_CHARACTERS_SHOWN = 60

T = TypeVar("T")

Service = Annotated[str, typer.Argument(help=f"Who could not digest it: {', '.join(SERVICES)}.")]
AnyService = Annotated[
    str | None, typer.Argument(help="Who could not digest them; all services by default.")
]
Source = Annotated[str, typer.Argument(help="The service whose fact it is.")]
Position = Annotated[int, typer.Argument(min=1, help="The fact's position at its source.")]
WithReplayed = Annotated[bool, typer.Option("--all", help="Also those that were replayed.")]

app = typer.Typer(help="Facts that could not be handled.", no_args_is_help=True)


class Letter(msgspec.Struct, kw_only=True):
    source: str
    position: int
    error: str
    at: datetime
    replayed_at: datetime | None
    fact: dict[str, Any] | None = None


class LetterPage(msgspec.Struct, kw_only=True):
    items: list[Letter]
    next_cursor: str | None = None


@app.command("list")
def list_letters(
    service: AnyService = None,
    with_replayed: WithReplayed = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits to be replayed; exit 1 if there is something."""
    chosen = _services(service)

    async def found(api: PublicApi) -> list[tuple[str, Letter]]:
        letters = []
        for each in chosen:
            async for letter in letters_of(api, each):
                if with_replayed or letter.replayed_at is None:
                    letters.append((each, letter))
                if len(letters) == LETTERS_SHOWN_MAX:
                    return letters
        return letters

    letters = _asked(data, found)
    if as_json:
        print_json([{"service": each, **msgspec.to_builtins(letter)} for each, letter in letters])
    else:
        _show(letters)
    raise typer.Exit(NO if any(each.replayed_at is None for _, each in letters) else 0)


@app.command()
def show(service: Service, source: Source, position: Position, data: Data = None) -> None:
    """Show one dead letter whole, as JSON; exit 1 if there is none."""
    _services(service)

    async def find(api: PublicApi) -> Letter | None:
        async for letter in letters_of(api, service):
            if (letter.source, letter.position) == (source, position):
                return letter
        return None

    letter = _asked(data, find)
    if letter is None:
        typer.echo(f"{service} has set aside no fact {position} of {source}", err=True)
        raise typer.Exit(NO)
    print_json(letter)


@app.command()
def replay(
    service: Service,
    source: Annotated[str | None, typer.Argument(help="Only facts of this service.")] = None,
    position: Annotated[int | None, typer.Argument(min=1, help="Only this fact.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Have a service digest again what it could not; exit 1 if something still cannot be."""
    _services(service)

    async def all_of_them(api: PublicApi) -> list[dict[str, Any]]:
        if source is not None and position is not None:
            return [await _replayed(api, service, source, position)]
        waiting = [
            letter
            async for letter in letters_of(api, service)
            if letter.replayed_at is None and source in (None, letter.source)
        ]
        return [await _replayed(api, service, each.source, each.position) for each in waiting]

    outcomes = _asked(data, all_of_them)
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            said = outcome["refused"] or "replayed"
            typer.echo(f"{service}: {outcome['source']} {outcome['position']}: {said}")
        if not outcomes:
            typer.echo(f"{service} has nothing to replay")
    raise typer.Exit(NO if any(outcome["refused"] for outcome in outcomes) else 0)


async def letters_of(api: PublicApi, service: str) -> AsyncIterator[Letter]:
    """All dead letters of a service, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        place = f"?cursor={quote(cursor)}" if cursor else ""
        page = await api.get(f"/v1/{service}/dead-letters{place}", LetterPage)
        for letter in page.items:
            yield letter
        cursor = page.next_cursor or None


async def _replayed(api: PublicApi, service: str, source: str, position: int) -> dict[str, Any]:
    path = f"/v1/{service}/dead-letters/{quote(source)}/{position}/replay"
    outcome = {"service": service, "source": source, "position": position, "refused": ""}
    try:
        # A key of its own for each try: a refusal is kept under its key for good.
        await api.post(path, None, Letter, key=f"replay-{uuid.uuid4()}")
    except RefusedByBank as refused:
        outcome["refused"] = str(refused)
    return outcome


def _services(service: str | None) -> tuple[str, ...]:
    if service is not None and service not in SERVICES:
        raise typer.BadParameter(f"no such service: {service} (there is: {', '.join(SERVICES)})")
    return SERVICES if service is None else (service,)


def _asked(data: Data, ask: Callable[[PublicApi], Awaitable[T]]) -> T:
    async def run() -> T:
        with closing(PublicApi.of(Folder.at(data), USER)) as api:
            return await ask(api)

    with ends_with(CANNOT_SAY, NoBank, NoAnswerFromBank, OSError, RefusedByBank):
        return asyncio.run(run())


def _show(letters: list[tuple[str, Letter]]) -> None:
    if not letters:
        typer.echo("no dead letters")
        return
    table = Table("service", "source", "position", "set aside", "replayed", "error")
    for service, letter in letters:
        table.add_row(
            service,
            letter.source,
            str(letter.position),
            f"{letter.at:%F %T}",
            f"{letter.replayed_at:%F %T}" if letter.replayed_at else "",
            letter.error[:ERROR_CHARACTERS_SHOWN],
        )
    print_table(table)
