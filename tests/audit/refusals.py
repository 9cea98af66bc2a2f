"""What audit refuses, of a log with TREE_SIZE entries; what it refuses is heard, and in it, too."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.audit.domain.proof import NoSuchEntry, NoSuchTree, TreesNotInOrder
from cbs.audit.domain.release import NotSigned
from tests.platform.refusals import of_every_service
from tests.refusals import ALWAYS, USED_KEY, Asked, Operation, RuleBook, over_http, rule
from tests.serving import Served

TREE_SIZE, FAR_BEYOND = 7, 1_000
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SAID = {
    "application": "ledger",
    "version": "0" * 40,
    "environment": "production",
    "answer": "yes",
    "pex_sha256": "",
}


def verdict(text: str = "", **changed: str) -> dict[str, str]:
    """Signed; what is changed is changed after that."""
    text = text or json.dumps(SAID)
    signed = {
        "verdict": text,
        "key": SIGNER.public_key().public_bytes_raw().hex(),
        "signature": SIGNER.sign(text.encode()).hex(),
    }
    return {**SAID, **signed, **changed}


@dataclass(kw_only=True)
class OfVerdict(Asked):
    said: dict[str, str] = field(default_factory=verdict)


async def of_verdict(served: Served, asked: OfVerdict) -> str:
    return await over_http(served, "audit.verdicts.keep", asked, body=asked.said)


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
        (*ALWAYS, rule(NotSigned, said=verdict(signature="0" * 128)), USED_KEY),
        OfVerdict,
        of_verdict,
    ),
    **of_every_service("audit"),
}
