"""The tables of docs/reference that follow from the code.

./pants run tests/docs/reference.py      writes them into their pages
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from cbs.bank import SERVICES
from cbs.platform.declaration import OF_EVERY_SERVICE, Declaration, declaration_of
from cbs.tools.cli.main import app_of
from cbs.tools.local.tokens import users
from tests.accounts.life_cycle import markdown

FOLDER = Path("docs/reference")
TABLE = "<!-- {name} -->\n{table}<!-- end -->"


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def services() -> str:
    """What each says of itself in its service.py."""
    parts = []
    for service in SERVICES:
        said = " ".join((import_module(f"cbs.{service}.service").__doc__ or "").split())
        parts.append(f"\n## {service}\n\n{said}\n\n{declared(declaration_of(service))}")
    return "".join(parts) + "\n"


def declared(said: Declaration) -> str:
    needs = f"{said.needs.cpu_mhz} MHz, {said.needs.memory_mib} MiB"
    if said.needs.keys:
        needs += f", and alone the key {code(said.needs.keys)}"
    rows = (
        ("answers on the bus", code(f"cbs.{said.service}.{verb}" for verb in said.serves)),
        ("calls", code(f"cbs.{call}" for call in said.calls)),
        ("hears the facts of", code(said.hears)),
        ("publishes", code(said.publishes)),
        ("keeps in tables", code(said.keeps)),
        ("permissions it asks for", code(said.permits)),
        ("needs, each instance", needs),
    )
    return table(("what", "which"), rows)


def every_service() -> str:
    rows = (
        ("answers on the bus", code(f"cbs.<service>.{verb}" for verb in OF_EVERY_SERVICE.serves)),
        ("publishes", code(OF_EVERY_SERVICE.publishes)),
        ("keeps in tables", code(OF_EVERY_SERVICE.keeps)),
        ("permissions it asks for", code(OF_EVERY_SERVICE.permits)),
    )
    return table(("what", "which"), rows)


def commands() -> str:
    rows = (
        (f"`./cbs {' '.join(path)}`", about(command))
        for path, command in words(typer.main.get_command(app_of()))
        if not command.hidden
    )
    return table(("command", "what it does"), rows)


def about(command: Any) -> str:
    """The first paragraph of its help."""
    return " ".join((command.help or "").split("\n\n")[0].split()).replace("|", r"\|")


def words(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    for name, each in inner.items():
        yield from words(each, (*path, name))
    if not inner:
        yield path, command


def tokens() -> str:
    rows = ((f"`{name}`", code(permissions)) for name, permissions in users().items())
    return table(("user", "permissions"), rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "services": services,
    "every service": every_service,
    "commands": commands,
    "tokens": tokens,
    "life cycles": markdown,
}


def written(page: str) -> str:
    """The page with its tables as the code has them."""
    for name, made in TABLES.items():
        block = TABLE.format(name=name, table=made()).replace("\\", r"\\")
        page = re.sub(TABLE.format(name=re.escape(name), table=r"(?s:.*?)"), block, page)
    return page


def main() -> None:
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text()
        if written(text) != text:
            page.write_text(written(text))
            print(f"written: {page}")


if __name__ == "__main__":
    main()
