"""What audit refuses, of a log with TREE_SIZE entries; what it refuses is heard, and in it, too."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cbs.audit.domain.proof import NoSuchEntry, NoSuchTree, TreesNotInOrder
from tests.platform.refusals import of_every_service
from tests.refusals import ALWAYS, USED_KEY, Asked, Operation, RuleBook, over_http, rule
from tests.serving import Served

TREE_SIZE, FAR_BEYOND = 7, 1_000
VERDICT = {
    "application": "ledger",
    "version": "0" * 40,
    "environment": "production",
    "answer": "yes",
    "pex_sha256": "",
    "verdict": "{}",
    "key": "0" * 64,
    "signature": "0" * 128,
}


@dataclass(kw_only=True)
class OfEntry(Asked):
    index: int = TREE_SIZE - 1
    tree_size: int = TREE_SIZE


@dataclass(kw_only=True)
class OfTrees(Asked):
    first: int = 1
    second: int = TREE_SIZE


def plain(operation: str, body: dict[str, Any] | None = None) -> Any:
    async def ask(served: Served, asked: Asked) -> str:
        return await over_http(served, operation, asked, body=body)

    return ask


def of_entry(operation: str, *sought: str) -> Callable[[Served, OfEntry], Awaitable[str]]:
    async def ask(served: Served, asked: OfEntry) -> str:
        path, query = {"index": asked.index}, {name: str(getattr(asked, name)) for name in sought}
        return await over_http(served, operation, asked, path=path, query=query)

    return ask


async def consistency(served: Served, asked: OfTrees) -> str:
    query = {"first": str(asked.first), "second": str(asked.second)}
    return await over_http(served, "audit.consistency", asked, query=query)


NO_ENTRY = rule(NoSuchEntry, index=FAR_BEYOND)

BOOK: RuleBook = {
    "audit.entries": Operation(ALWAYS, Asked, plain("audit.entries")),
    "audit.entry": Operation((*ALWAYS, NO_ENTRY), OfEntry, of_entry("audit.entry")),
    "audit.proof": Operation(
        (*ALWAYS, rule(NoSuchTree, tree_size=FAR_BEYOND), NO_ENTRY),
        OfEntry,
        of_entry("audit.proof", "tree_size"),
    ),
    "audit.head": Operation(ALWAYS, Asked, plain("audit.head")),
    "audit.consistency": Operation(
        (
            *ALWAYS,
            rule(TreesNotInOrder, first=FAR_BEYOND + 1),
            rule(NoSuchTree, second=FAR_BEYOND),
        ),
        OfTrees,
        consistency,
    ),
    "audit.verdicts.keep": Operation(
        (*ALWAYS, USED_KEY), Asked, plain("audit.verdicts.keep", VERDICT)
    ),
    **of_every_service("audit"),
}
