"""How far a long piece of work has come: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 5.0


def now_and_then(say: Callable[[str], None]) -> Callable[[Callable[[], str]], None]:
    """What may be called often: it says a line if the last one was some seconds ago."""
    said_at = time.monotonic()

    def perhaps(text: Callable[[], str]) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= LINE_SECONDS:
            said_at = time.monotonic()
            say(text())

    return perhaps


@contextmanager
def counted(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yields what is to be called for every one that is done."""
    show = _bar if console.is_terminal else _lines
    with show(console, what, total) as advance:
        yield advance


@contextmanager
def _bar(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def _lines(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    began, done, tell = time.monotonic(), 0, now_and_then(console.print)

    def line() -> str:
        return f"{what} {done}/{total}, {time.monotonic() - began:.0f} s"

    def advance() -> None:
        nonlocal done
        done += 1
        tell(line)

    yield advance
    console.print(line())
