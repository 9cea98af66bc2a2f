from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from cbs.audit.application.log import Place, Sought
from cbs.audit.domain.entry import Entry, Record, not_yet_kept
from cbs.audit.domain.proof import TreeHead
from cbs.kernel.merkle import Subtree, Tree


class InMemoryLog:
    """Keeps the promises of LogStore; test_store.py holds both stores to them."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.tree = Tree()
        self.complete: dict[Subtree, bytes] = {}
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    async def append(self, records: Sequence[Record], *, at: datetime) -> None:
        kept = {entry.record.origin: entry.leaf_hash for entry in self.log}
        new = not_yet_kept(records, kept)
        if not new:
            return
        for record in new:
            leaf = record.leaf_hash
            self.complete[Subtree(0, len(self.log))] = leaf
            self.log.append(Entry(index=len(self.log), leaf_hash=leaf, record=record))
        self.tree, completed = self.tree.appended(record.leaf_hash for record in new)
        self.complete |= completed
        self.at = at

    async def head(self) -> TreeHead:
        return TreeHead(tree_size=self.tree.size, root_hash=self.tree.root, at=self.at)

    async def entry(self, index: int) -> Entry | None:
        return self.log[index] if index < len(self.log) else None

    async def entries(self, sought: Sought, *, after: Place | None, limit: int) -> list[Entry]:
        matching = [
            entry
            for entry in self.log
            for record in [entry.record]
            if sought.actor in (None, record.actor)
            and sought.subject in (None, record.subject)
            and sought.source in (None, record.source)
            and (sought.since is None or record.at >= sought.since)
            and (sought.until is None or record.at < sought.until)
            and (after is None or (record.at, entry.index) > after)
        ]
        return sorted(matching, key=lambda entry: (entry.record.at, entry.index))[:limit]

    async def hashes(self, places: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        return {place: self.complete[place] for place in places}
