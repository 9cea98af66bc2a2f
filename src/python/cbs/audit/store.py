"""The log in PostgreSQL: whoever appends holds the head's row lock, so the tree has one end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piccolo.custom_types import Combinable
from piccolo.query import OrderByRaw

from cbs.audit.application.log import Sought
from cbs.audit.domain.entry import Entry, Record, not_yet_kept
from cbs.audit.domain.proof import TreeHead
from cbs.audit.tables import EntryRow, HeadRow
from cbs.kernel.merkle import Subtree, Tree
from cbs.platform.database import Database

LAST = "SELECT tree_size, peaks FROM audit_head FOR UPDATE"
KEPT = """
    SELECT source, position, leaf_hash
    FROM audit_entry JOIN unnest($1::text[], $2::bigint[]) AS asked (source, position)
    USING (source, position)"""
APPEND = """
    INSERT INTO audit_entry (index, leaf_hash, source, position, fact, actor, on_behalf_of, subject,
                             at, correlation_id, body)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::text[],
                         $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::text[],
                         $11::bytea[])"""
COMPLETE = """
    INSERT INTO audit_node (level, index, hash)
    SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])"""
GROW = "UPDATE audit_head SET tree_size = $1, peaks = $2, root_hash = $3, at = $4"
NODES = """
    SELECT level, index, hash
    FROM audit_node JOIN unnest($1::smallint[], $2::bigint[]) AS asked (level, index)
    USING (level, index)"""
LEAVES = "SELECT index, leaf_hash FROM audit_entry WHERE index = ANY($1::bigint[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresLog:
    database: Database

    async def append(self, records: Sequence[Record], *, at: datetime) -> None:
        connection = self.database.connection
        last = await connection.fetchrow(LAST)
        tree = Tree(last["tree_size"], tuple(last["peaks"]))
        kept = await connection.fetch(
            KEPT, [each.source for each in records], [each.position for each in records]
        )
        new = not_yet_kept(
            records, {(row["source"], row["position"]): row["leaf_hash"] for row in kept}
        )
        if not new:
            return
        leaves = [record.leaf_hash for record in new]
        grown, completed = tree.appended(leaves)
        indexes = list(range(tree.size, grown.size))
        await connection.execute(APPEND, indexes, leaves, *_columns(new))
        await connection.execute(
            COMPLETE,
            [place.level for place in completed],
            [place.number for place in completed],
            list(completed.values()),
        )
        await connection.execute(GROW, grown.size, list(grown.peaks), grown.root, at)

    async def head(self) -> TreeHead:
        row = await HeadRow.select(HeadRow.tree_size, HeadRow.root_hash, HeadRow.at).first()
        assert row is not None, "the log has a head from its first migration"
        return TreeHead(**row)

    async def entry(self, index: int) -> Entry | None:
        row = await EntryRow.select().where(EntryRow.index == index).first()
        return _to_entry(row) if row else None

    async def entries(self, sought: Sought, *, after: int, limit: int) -> list[Entry]:
        # Sorted, or PostgreSQL would go through all that is older than the period. From the second
        # page on nothing is.
        filtered = sought.actor or sought.subject or sought.source
        begins = sought.since is not None and (after < 0 or filtered)
        order = OrderByRaw("index + 0") if begins else EntryRow.index
        rows = await EntryRow.select().where(*_wheres(sought, after)).order_by(order).limit(limit)
        return [_to_entry(row) for row in rows]

    async def hashes(self, places: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        inner = [place for place in places if place.level > 0]
        nodes = await self.database.fetch(
            NODES, [place.level for place in inner], [place.number for place in inner]
        )
        leaves = await self.database.fetch(
            LEAVES, [place.number for place in places if place.level == 0]
        )
        return {Subtree(row["level"], row["index"]): row["hash"] for row in nodes} | {
            Subtree(0, row["index"]): row["leaf_hash"] for row in leaves
        }


def _wheres(sought: Sought, after: int) -> list[Combinable]:
    wheres: list[Combinable] = [EntryRow.index > after]
    if sought.actor is not None:
        wheres.append(EntryRow.actor == sought.actor)
    if sought.subject is not None:
        wheres.append(EntryRow.subject == sought.subject)
    if sought.source is not None:
        wheres.append(EntryRow.source == sought.source)
    if sought.since is not None:
        wheres.append(EntryRow.at >= sought.since)
    if sought.until is not None:
        wheres.append(EntryRow.at < sought.until)
    return wheres


def _columns(records: Sequence[Record]) -> list[list[Any]]:
    """One list a column, in the order of APPEND."""
    return [
        [getattr(record, column) for record in records]
        for column in (
            "source",
            "position",
            "fact",
            "actor",
            "on_behalf_of",
            "subject",
            "at",
            "correlation_id",
            "body",
        )
    ]


def _to_entry(row: Mapping[str, Any]) -> Entry:
    fields = dict(row)
    return Entry(
        index=fields.pop("index"), leaf_hash=fields.pop("leaf_hash"), record=Record(**fields)
    )
