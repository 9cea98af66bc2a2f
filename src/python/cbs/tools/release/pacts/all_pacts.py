"""All pacts of this tree, written afresh: what was there before is not read."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.release.pacts.conversation import Conversation

CLIENTS = ("cli", "gateway", "partner")


def conversations() -> Iterator[Conversation]:
    """Of the services that ask or hear others, and of the clients: each in a module of its name."""
    declared = map(declaration_of, SERVICES)
    talkers = [each.service for each in declared if each.calls or set(each.hears) - {each.service}]
    for name in (*talkers, *CLIENTS):
        yield from import_module(f"cbs.tools.release.pacts.{name}").conversations()


def written(folder: Path) -> list[Path]:
    """Every consumer's pacts as files in `folder`, which was empty or missing."""
    folder.mkdir(parents=True, exist_ok=True)
    assert not list(folder.iterdir()), f"{folder} is not empty"
    return sorted(conversation.write(folder) for conversation in conversations())
