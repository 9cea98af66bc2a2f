"""What a service's published schemas lose from one version to another, whether or not anybody reads
it: a note for people, because clients exist that have no pact."""

import json
from collections.abc import Callable
from typing import Any

from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.schema_diff.specs import SchemaChange, asyncapi_changes, openapi_changes

Compare = Callable[[dict[str, Any], dict[str, Any]], list[SchemaChange]]
KINDS: dict[str, Compare] = {"openapi": openapi_changes, "asyncapi": asyncapi_changes}


def changes_between(
    history: GitHistory, service: str, before: str, after: str
) -> list[SchemaChange]:
    """All differences of both documents; none for a document that either version lacks."""
    found = []
    for kind, compare in KINDS.items():
        path = f"contracts/{kind}/{service}.json"
        old, new = history.file(before, path), history.file(after, path)
        if old is not None and new is not None:
            found += compare(json.loads(old), json.loads(new))
    return found


def breaking_between(history: GitHistory, service: str, before: str, after: str) -> list[str]:
    changes = changes_between(history, service, before, after)
    return [f"{service} {each.where}: {each.what}" for each in changes if each.breaking]
