"""The audit log takes in facts and gives them out again, with proofs that it kept every one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cbs.audit.domain.entry import Entry, Record
from cbs.audit.domain.proof import (
    ConsistencyProof,
    InclusionProof,
    NoSuchEntry,
    NoSuchTree,
    TreeHead,
    TreesNotInOrder,
)
from cbs.kernel import merkle
from cbs.kernel.merkle import Subtree


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What entries must match; what is None matches all. Times are `since` <= at < `until`."""

    actor: str | None = None
    subject: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class LogStore(Protocol):
    async def append(self, records: Sequence[Record], *, at: datetime) -> None:
        """Keep those not kept before, in this order, and move the head, in one transaction.

        Whoever else appends waits, so indexes have no gap. Raises HistoryRewritten.
        """
        ...

    async def head(self) -> TreeHead: ...

    async def entry(self, index: int) -> Entry | None: ...

    async def entries(self, sought: Sought, *, after: int, limit: int) -> list[Entry]:
        """What matches with an index above `after`, in the order of arrival: whatever is kept
        later stands behind it."""
        ...

    async def hashes(self, places: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        """The hashes of subtrees that are complete in the log as it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    store: LogStore
    now: Callable[[], datetime]

    async def keep(self, *, records: Sequence[Record]) -> None:
        await self.store.append(records, at=self.now())

    async def entry(self, *, index: int) -> Entry:
        entry = await self.store.entry(index)
        if entry is None:
            raise NoSuchEntry
        return entry

    async def prove_inclusion(self, *, index: int, tree_size: int | None) -> InclusionProof:
        """In the tree of that size, or else in the whole log as it is now."""
        head = await self.store.head()
        size = head.tree_size if tree_size is None else tree_size
        if size > head.tree_size:
            raise NoSuchTree
        if index >= size:
            raise NoSuchEntry
        leaf, root, *path = await self._hashes_of(
            range(index, index + 1), range(size), *merkle.inclusion(index, size)
        )
        return InclusionProof(
            index=index, leaf_hash=leaf, tree_size=size, root_hash=root, path=path
        )

    async def prove_consistency(self, *, first: int, second: int) -> ConsistencyProof:
        if first > second:
            raise TreesNotInOrder
        head = await self.store.head()
        if second > head.tree_size:
            raise NoSuchTree
        first_root, second_root, *path = await self._hashes_of(
            range(first), range(second), *merkle.consistency(first, second)
        )
        return ConsistencyProof(
            first=first,
            first_root_hash=first_root,
            second=second,
            second_root_hash=second_root,
            path=path,
        )

    async def _hashes_of(self, *parts: range) -> list[bytes]:
        wanted = [merkle.subtrees(part) for part in parts]
        known = await self.store.hashes({place for places in wanted for place in places})
        return [merkle.joined([known[place] for place in places]) for places in wanted]
