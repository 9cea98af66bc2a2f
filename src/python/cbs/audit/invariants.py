"""The audit log keeps every fact, and its tree, built again from nothing but them, is its own.

Of a log of any length, BATCH_ROWS_MAX entries are in memory at once.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cbs.audit.service import DECLARATION
from cbs.kernel.merkle import Subtree, Tree, leaf_hash
from cbs.platform.coverage import Columns, seen, unseen
from cbs.platform.invariants import Check, Row, SnapshotReader, aligned
from cbs.platform.outbox import fact_of

BATCH_ROWS_MAX, FAULTS_MAX = 256, 20
EMPTY = Tree()

SAID = """
    SELECT position, body FROM outbox
    WHERE position <= $1 AND position > $2 ORDER BY position"""
KEPT = """
    SELECT position, body FROM audit_entry
    WHERE source = $1 AND position <= $2 AND position > $3 ORDER BY position"""
SET_ASIDE = """
    SELECT position FROM dead_letter
    WHERE source = $1 AND position <= $2 AND replayed_at IS NULL"""

ENTRIES = """
    SELECT index, leaf_hash, source, position, fact, actor, on_behalf_of, subject, at,
           correlation_id, body
    FROM audit_entry WHERE index >= $1 ORDER BY index"""
NODES = """
    SELECT level, index, hash
    FROM audit_node JOIN unnest($1::smallint[], $2::bigint[]) AS asked (level, index)
    USING (level, index)"""
HEAD = "SELECT tree_size, peaks, root_hash FROM audit_head"
NODES_COUNT = "SELECT count(*) FROM audit_node"
HEARD_NOT_KEPT = """
    SELECT source, watermark.position AS heard, kept.count AS kept, aside.count AS aside
    FROM watermark,
        LATERAL (SELECT count(*) FROM audit_entry entry
                 WHERE entry.source = watermark.source) AS kept,
        LATERAL (SELECT count(*) FROM dead_letter letter
                 WHERE letter.source = watermark.source AND replayed_at IS NULL) AS aside
    WHERE watermark.position <> kept.count + aside.count"""


async def audit_log_faults(connection: Any, since: Tree = EMPTY) -> list[str]:
    """What is wrong with the audit log, FAULTS_MAX at most; nothing if it is whole.

    Needs only to read, and sees the log as of one moment while it goes on growing. What is in the
    tree `since` which it is checked is not read again.
    """
    faults: list[str] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for fault in _faults(connection, since):
            faults.append(fault)
            if len(faults) == FAULTS_MAX:
                break
    return faults


async def _faults(connection: Any, since: Tree) -> AsyncIterator[str]:
    recount = Recount(since)
    cursor = await connection.cursor(ENTRIES, since.size)
    while rows := await cursor.fetch(BATCH_ROWS_MAX):
        faults, completed = recount.add(rows)
        for fault in faults:
            yield fault
        for fault in await _node_faults(connection, completed):
            yield fault
    tree, head = recount.tree, await connection.fetchrow(HEAD)
    if (head["tree_size"], tuple(head["peaks"])) != (tree.size, tree.peaks):
        yield f"head: is of {head['tree_size']} entries; there are {tree.size}, or they differ"
    if head["root_hash"] != tree.root:
        yield f"head: its root hash is {head['root_hash'].hex()}, recomputed {tree.root.hex()}"
    nodes = await connection.fetchval(NODES_COUNT)
    if nodes != (due := tree.size - tree.size.bit_count()):
        yield f"nodes: {nodes} instead of {due}"
    for row in await connection.fetch(HEARD_NOT_KEPT):
        yield (
            f"{row['source']}: {row['heard']} facts heard, {row['kept']} kept, "
            f"{row['aside']} set aside"
        )


async def _node_faults(connection: Any, completed: Mapping[Subtree, bytes]) -> list[str]:
    rows = await connection.fetch(
        NODES, [place.level for place in completed], [place.number for place in completed]
    )
    found = {Subtree(row["level"], row["index"]): row["hash"] for row in rows}
    return [
        f"node {place.level}/{place.number}: {'missing' if place not in found else 'differs'}"
        for place, expected in completed.items()
        if found.get(place) != expected
    ]


@dataclass(slots=True)
class Recount:
    """The tree over the entries seen so far."""

    tree: Tree = field(default_factory=Tree)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[Subtree, bytes]]:
        faults = [
            f"entry {row['index']}: {fault}"
            for expected, row in enumerate(rows, start=self.tree.size)
            for fault in _entry_faults(row, expected)
        ]
        self.tree, completed = self.tree.appended(leaf_hash(row["body"]) for row in rows)
        return faults, completed


def _entry_faults(row: Mapping[str, Any], expected: int) -> Iterator[str]:
    if row["index"] != expected:
        yield f"comes where {expected} is due"
    if row["leaf_hash"] != leaf_hash(row["body"]):
        yield "its hash is not that of its fact"
    try:
        fact = fact_of(row["body"])
    except (msgspec.DecodeError, ValueError) as error:
        yield f"holds no fact: {error}"
        return
    said = {
        "source": fact.source,
        "position": fact.position,
        "fact": fact.name,
        "actor": fact.event.actor,
        "on_behalf_of": fact.event.onbehalfof,
        "subject": fact.event.subject,
        "at": fact.event.time,
        "correlation_id": fact.event.correlationid,
    }
    for column, value in said.items():
        if row[column] != value:
            yield f"{column} is not what its fact says"


def _audited(source: str) -> Check:
    async def find(snapshots: SnapshotReader) -> AsyncIterator[Row]:
        fence, since = snapshots.must_have_heard("audit", source), snapshots.verified(source)
        # Those are reported by themselves, with how to replay them.
        letters = await snapshots["audit"].fetch(SET_ASIDE, source, fence)
        aside = {row["position"] for row in letters}
        pairs = aligned(
            snapshots.rows(source, SAID, fence, since),
            snapshots.rows("audit", KEPT, source, fence, since),
            lambda row: row["position"],
        )
        async for said, kept in pairs:
            if said is None and kept is not None:
                yield {"position": kept["position"], "fault": "never said"}
            elif said is not None and kept is None and said["position"] not in aside:
                yield {"position": said["position"], "fault": "not kept"}
            elif said is not None and kept is not None and said["body"] != kept["body"]:
                yield {"position": said["position"], "fault": "kept with other bytes"}

    return Check(
        service="audit",
        name=f"audited-{source}",
        promise=f"every fact of {source} is kept byte for byte",
        find=find,
        reads=(source,),
    )


async def _log_faults(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    for fault in await audit_log_faults(snapshots["audit"], snapshots.verified_tree):
        yield {"fault": fault}


CHECKS = (
    *(_audited(source) for source in DECLARATION.hears),
    Check(
        service="audit",
        name="log-whole",
        promise="the audit log's tree is that of its entries",
        find=_log_faults,
    ),
)
COVERAGE: tuple[Columns, ...] = (
    seen(
        "audit_entry",
        "index leaf_hash source position fact actor on_behalf_of subject at correlation_id body",
        by="log-whole",
    ),
    seen("audit_node", "level index hash", by="log-whole"),
    seen("audit_head", "tree_size peaks root_hash", by="log-whole"),
    unseen("audit_head", "one", because="the only row's key, which nothing reads"),
    unseen("audit_head", "at", because="when it last grew; each entry has the time of its fact"),
)
