"""What auditors ask: who did what when, and the proof that nobody has changed it since."""

from datetime import UTC, datetime
from typing import Annotated, Self

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from cbs.audit.application.log import AuditLog, Sought
from cbs.audit.domain.entry import Entry
from cbs.audit.domain.proof import (
    ConsistencyProof,
    InclusionProof,
    NoSuchEntry,
    NoSuchTree,
    TreeHead,
    TreesNotInOrder,
)
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Malformed
from cbs.platform.http import needs
from cbs.platform.paging import (
    PAGE_ITEMS_DEFAULT,
    Cursor,
    Limit,
    Page,
    check_order,
    cursor_of,
    page_of,
    place_of,
)
from cbs.platform.problem import refusals

# JSON numbers are exact up to here.
SIZE_MAX, BEFORE_ALL = 2**53 - 1, -1
# PostgreSQL keeps no U+0000 in a text.
TEXT, TEXT_CHARACTERS_MAX = r"^[^\x00]+$(?!\n)", 128

Index = Annotated[int, PathParameter(ge=0, le=SIZE_MAX)]
Last = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
Actor = Annotated[
    str | None, QueryParameter(name="actor", pattern=TEXT, max_length=TEXT_CHARACTERS_MAX)
]
Subject = Annotated[
    str | None, QueryParameter(name="subject", pattern=TEXT, max_length=TEXT_CHARACTERS_MAX)
]
Source = Annotated[
    str | None,
    QueryParameter(name="source", pattern=r"^[a-z]+$(?!\n)", max_length=TEXT_CHARACTERS_MAX),
]
# Litestar would take a number of seconds for a datetime, which no document says.
MOMENT = {"format": "date-time"}
Since = Annotated[
    str | None,
    QueryParameter(name="from", description="Not before this; with a zone.", schema_extra=MOMENT),
]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Before this.", schema_extra=MOMENT)
]
TreeSize = Annotated[
    int | None,
    QueryParameter(name="tree_size", ge=1, le=SIZE_MAX, description="Else the log's own."),
]
First = Annotated[int, QueryParameter(name="first", ge=1, le=SIZE_MAX)]
Second = Annotated[int, QueryParameter(name="second", ge=1, le=SIZE_MAX)]


@published_as("cbs.audit.api.http.EntryView")
class EntryView(msgspec.Struct, kw_only=True):
    """`leaf_hash` is the SHA-256 of a zero byte and `body`, the fact as published, in UTF-8."""

    index: int
    leaf_hash: str
    source: str
    position: int
    fact: str
    actor: str
    on_behalf_of: str
    subject: str
    at: datetime
    correlation_id: str
    body: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        record = entry.record
        return cls(
            index=entry.index,
            leaf_hash=entry.leaf_hash.hex(),
            source=record.source,
            position=record.position,
            fact=record.fact,
            actor=record.actor,
            on_behalf_of=record.on_behalf_of,
            subject=record.subject,
            at=record.at,
            correlation_id=record.correlation_id,
            body=record.body.decode(),
        )


class HeadView(msgspec.Struct, kw_only=True):
    """The root of the RFC 9162 tree over the first `tree_size` entries; hashes are in hex."""

    tree_size: int
    root_hash: str
    at: datetime

    @classmethod
    def of(cls, head: TreeHead) -> Self:
        return cls(tree_size=head.tree_size, root_hash=head.root_hash.hex(), at=head.at)


class ProofView(msgspec.Struct, kw_only=True):
    """Check it as RFC 9162 §2.1.3.2 says."""

    index: int
    leaf_hash: str
    tree_size: int
    root_hash: str
    path: list[str]

    @classmethod
    def of(cls, proof: InclusionProof) -> Self:
        return cls(
            index=proof.index,
            leaf_hash=proof.leaf_hash.hex(),
            tree_size=proof.tree_size,
            root_hash=proof.root_hash.hex(),
            path=[each.hex() for each in proof.path],
        )


class ConsistencyView(msgspec.Struct, kw_only=True):
    """Check it as RFC 9162 §2.1.4.2 says."""

    first: int
    first_root_hash: str
    second: int
    second_root_hash: str
    path: list[str]

    @classmethod
    def of(cls, proof: ConsistencyProof) -> Self:
        return cls(
            first=proof.first,
            first_root_hash=proof.first_root_hash.hex(),
            second=proof.second,
            second_root_hash=proof.second_root_hash.hex(),
            path=[each.hex() for each in proof.path],
        )


@get(
    "/v1/audit/entries",
    operation_id="audit.entries",
    summary="Entries as they arrived, of an actor, about a subject, from a source, in a period",
    opt=needs("audit.read"),
    responses=refusals(),
)
async def entries(
    log: NamedDependency[AuditLog],
    actor: Actor = None,
    subject: Subject = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[EntryView]:
    sought = Sought(
        actor=actor,
        subject=subject,
        source=source,
        since=_moment(since, "from"),
        until=_moment(until, "to"),
    )
    check_order(sought.since, sought.until)
    after = place_of(cursor, tuple[Last])[0] if cursor else BEFORE_ALL
    found = await log.store.entries(sought, after=after, limit=limit)
    items = [EntryView.of(entry) for entry in found]
    return page_of(items, limit, lambda last: cursor_of(last.index))


@get(
    "/v1/audit/entries/{index:int}",
    operation_id="audit.entry",
    summary="One entry, with the fact as it was published",
    opt=needs("audit.read"),
    responses=refusals(NoSuchEntry),
)
async def entry(index: Index, log: NamedDependency[AuditLog]) -> EntryView:
    return EntryView.of(await log.entry(index=index))


@get(
    "/v1/audit/entries/{index:int}/proof",
    operation_id="audit.proof",
    summary="The proof that an entry is in the log",
    opt=needs("audit.read"),
    responses=refusals(NoSuchTree, NoSuchEntry),
)
async def proof(
    index: Index, log: NamedDependency[AuditLog], tree_size: TreeSize = None
) -> ProofView:
    return ProofView.of(await log.prove_inclusion(index=index, tree_size=tree_size))


@get(
    "/v1/audit/head",
    operation_id="audit.head",
    summary="The log as it is: how many entries, and one hash of them all",
    opt=needs("audit.read"),
    responses=refusals(),
)
async def head(log: NamedDependency[AuditLog]) -> HeadView:
    return HeadView.of(await log.store.head())


@get(
    "/v1/audit/consistency",
    operation_id="audit.consistency",
    summary="The proof that the log of one size is the beginning of the log of another",
    opt=needs("audit.read"),
    responses=refusals(TreesNotInOrder, NoSuchTree),
)
async def consistency(
    first: First, second: Second, log: NamedDependency[AuditLog]
) -> ConsistencyView:
    return ConsistencyView.of(await log.prove_consistency(first=first, second=second))


def _moment(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        return _in_utc(msgspec.convert(text, datetime), name)
    except msgspec.ValidationError as error:
        raise Malformed(f"{name}: {error}") from None


def _in_utc(at: datetime, name: str) -> datetime:
    if at.tzinfo is None:
        raise Malformed(f"{name}: a time carries a zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:  # within a day of the calendar's first or last moment
        return at.replace(tzinfo=UTC)


ROUTES = [entries, entry, proof, head, consistency]
