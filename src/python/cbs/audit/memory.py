"""The audit log in memory; tests/audit/test_store.py holds it to what PostgreSQL does."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cbs.audit.application.log import LogStore, Sought
from cbs.audit.domain.entry import Entry, Record, not_yet_kept
from cbs.audit.domain.proof import TreeHead
from cbs.kernel.merkle import Subtree, Tree
from cbs.platform.memory.database import MemoryDatabase, Table, memory_of
from cbs.platform.service import Runtime
from cbs.platform.settings import Settings

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLog:
    database: MemoryDatabase

    @property
    def log(self) -> Table[int, Entry]:
        return self.database.table("audit_entry")

    @property
    def hashed(self) -> Table[tuple[str, int], bytes]:
        """The leaf of each source and position."""
        return self.database.table("audit_origin")

    @property
    def nodes(self) -> Table[Subtree, bytes]:
        return self.database.table("audit_node")

    @property
    def heads(self) -> Table[str, tuple[Tree, datetime]]:
        return self.database.table("audit_head", {HEAD: (Tree(), BEGAN)})

    async def append(self, records: Sequence[Record], *, at: datetime) -> None:
        await self.database.call()
        tree, _ = self.heads[HEAD]
        hashed = self.hashed
        new = not_yet_kept(
            records, {each.origin: hashed[each.origin] for each in records if each.origin in hashed}
        )
        if not new:
            return
        leaves = [record.leaf_hash for record in new]
        for index, (record, leaf) in enumerate(zip(new, leaves, strict=True), tree.size):
            self.log[index] = Entry(index=index, leaf_hash=leaf, record=record)
            hashed[record.origin] = leaf
        grown, completed = tree.appended(leaves)
        self.nodes.update(completed)
        self.heads[HEAD] = grown, at

    async def head(self) -> TreeHead:
        await self.database.call()
        tree, at = self.heads[HEAD]
        return TreeHead(tree_size=tree.size, root_hash=tree.root, at=at)

    async def entry(self, index: int) -> Entry | None:
        await self.database.call()
        return self.log.get(index)

    async def entries(self, sought: Sought, *, after: int, limit: int) -> list[Entry]:
        await self.database.call()
        found = [
            entry
            for entry in self.log.values()
            for record in [entry.record]
            if sought.actor in (None, record.actor)
            and sought.subject in (None, record.subject)
            and sought.source in (None, record.source)
            and (sought.since is None or record.at >= sought.since)
            and (sought.until is None or record.at < sought.until)
            and entry.index > after
        ]
        return sorted(found, key=lambda entry: entry.index)[:limit]

    async def hashes(self, places: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        await self.database.call()
        leaves = {place for place in places if place.level == 0}
        return {place: self.log[place.number].leaf_hash for place in leaves} | {
            place: self.nodes[place] for place in places if place not in leaves
        }


def in_memory(runtime: Runtime[Settings]) -> LogStore:
    return MemoryLog(database=memory_of(runtime.database))
