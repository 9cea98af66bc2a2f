"""What all commands have in common: options, exit codes, and how they answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cbs.tools.local.explained import explained

DONE, NO, WRONG_USAGE, CANNOT_SAY = 0, 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="For a program to read.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The bank's folder; by default CBS_DATA, or .cbs in the clone.",
        show_default=False,
    ),
]


def console(*, as_json: bool = False) -> Console:
    """For lines to a person, as they are: beside what a program reads, not in it."""
    return Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)


def json_text(answer: object) -> str:
    """What JSON has no word for is text."""
    return msgspec.json.format(msgspec.json.encode(answer, enc_hook=str), indent=1).decode()


def print_json(answer: object) -> None:
    typer.echo(json_text(answer))


def print_table(table: Table, *, stderr: bool = False) -> None:
    Console(stderr=stderr).print(table)


@contextmanager
def ends_with(code: int, *errors: type[BaseException], saying: str = "") -> Iterator[None]:
    """What the user can act on is said in a line or two, without a traceback."""
    try:
        yield
    except errors as error:
        typer.echo(f"{saying}{explained(error)}", err=True)
        raise typer.Exit(code) from None
