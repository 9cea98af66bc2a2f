"""What stands in the book is what the ledger told of it, in the facts of its own outbox.

What facts of an older release do not tell yet, rows are not judged on.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cbs.ledger.invariants.asked import LEDGER, TRANSACTION_ID
from cbs.platform.invariants import BATCH_ROWS, Row, SnapshotReader, aligned

POSTED, SET = "cbs.ledger.events.transaction-posted", "cbs.ledger.events.account-set"

FACTS = "SELECT position, body FROM outbox WHERE subject = $1 ORDER BY position"
BOOKED = """
    SELECT transaction.id, transaction.kind, transaction.currency, transaction.booked_on::text,
        transaction.value_on::text, booked_at, narrative, actor,
        array_agg(leg::int ORDER BY leg) AS legs, array_agg(account ORDER BY leg) AS accounts,
        array_agg(amount_minor ORDER BY leg) AS amounts,
        array_agg(balance_after_minor ORDER BY leg) AS balances, array_agg(seq ORDER BY leg) AS seqs
    FROM transaction JOIN posting ON transaction_id = transaction.id
    WHERE transaction.id = ANY($1::uuid[]) GROUP BY transaction.id"""
KEPT = f"""
    SELECT principal, key, {TRANSACTION_ID} AS transaction_id
    FROM request JOIN unnest($1::text[], $2::text[]) AS told (principal, key)
    USING (principal, key)"""
TERMS_TOLD = r"""
    SELECT body FROM outbox WHERE subject = $1 ORDER BY
        substring(encode(body, 'escape') from '"account":"([A-Z0-9-]+)"') COLLATE "C", position"""
TERMS_HELD = """
    SELECT number COLLATE "C" AS account, kind, currency, floor_minor, ceiling_minor,
        limit_per_transaction_minor, limit_per_day_minor, debit_blocked, credit_blocked, closed,
        version
    FROM account ORDER BY number COLLATE "C" """
# The accounts that the book begins with. Nobody was there to be told.
CHART = ("INR-CASH", "INR-CLEARING", "INR-FEES", "INR-INTEREST", "INR-SUSPENSE")


class ToldLeg(msgspec.Struct):
    account: str
    amount_minor: int
    balance_after_minor: int
    seq: int


class ToldTransaction(msgspec.Struct):
    transaction_id: UUID
    kind: str
    currency: str
    booked_on: str
    value_on: str
    booked_at: datetime
    narrative: str
    legs: list[ToldLeg]
    key: str = ""


class ToldFact(msgspec.Struct):
    actor: str
    data: ToldTransaction
    onbehalfof: str = ""


class ToldTerms(msgspec.Struct, kw_only=True):
    account: str
    kind: str = "internal"
    currency: str = "INR"
    floor_minor: int | None = None
    ceiling_minor: int | None = None
    limit_per_transaction_minor: int | UnsetType | None = UNSET
    limit_per_day_minor: int | UnsetType | None = UNSET
    debit_blocked: bool = False
    credit_blocked: bool = False
    closed: bool = False
    version: int = 1


class ToldSet(msgspec.Struct):
    data: ToldTerms


_facts, _sets = msgspec.json.Decoder(ToldFact), msgspec.json.Decoder(ToldSet)


async def told_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Facts whose transaction is in the book, but not as they tell it."""
    async for batch in snapshots.batches(LEDGER, FACTS, POSTED):
        for row in await _told_otherwise(snapshots, batch):
            yield row


async def _told_otherwise(snapshots: SnapshotReader, batch: Sequence[Row]) -> list[Row]:
    assert len(batch) <= BATCH_ROWS, len(batch)
    wrong: list[Row] = []
    told: dict[int, ToldFact] = {}
    for row in batch:
        try:
            told[row["position"]] = _facts.decode(row["body"])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong.append({"position": row["position"], "error": str(error)})
    ids = [fact.data.transaction_id for fact in told.values()]
    booked = {row["id"]: row for row in await snapshots[LEDGER].fetch(BOOKED, ids)}
    names = [(fact.actor, fact.data.key) for fact in told.values() if fact.data.key]
    rows = await snapshots[LEDGER].fetch(KEPT, *([*zip(*names, strict=True)] or ([], [])))
    kept = {(row["principal"], row["key"]): row["transaction_id"] for row in rows}
    for position, fact in told.items():
        id, key = fact.data.transaction_id, fact.data.key
        other = _differs(fact, booked[id]) if id in booked else []
        if key and kept.get((fact.actor, key)) != id:
            other.append(f"answer under {key}")
        if other:
            wrong.append({"position": position, "transaction_id": id, "another": ", ".join(other)})
    return wrong


def _differs(fact: ToldFact, row: Any) -> list[str]:
    columns = (row["accounts"], row["amounts"], row["balances"], row["seqs"])
    legs = [ToldLeg(*leg) for leg in zip(*columns, strict=True)]
    names = ("kind", "currency", "booked_on", "value_on", "booked_at", "narrative")
    other = [name for name in names if getattr(fact.data, name) != row[name]]
    if row["actor"] != (fact.onbehalfof or fact.actor):
        other.append("actor")
    if legs != fact.data.legs or row["legs"] != list(range(len(legs))):
        other.append("legs")
    return other


async def terms_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Accounts that are not on the terms which were told last."""
    pairs = aligned(
        _terms_told(snapshots),
        snapshots.rows(LEDGER, TERMS_HELD),
        lambda row: row["account"],
    )
    async for told, held in pairs:
        number = (told or held or {})["account"]
        if held is None:
            yield {"number": number, "fault": "told, and not there"}
        elif told is None and number not in CHART:
            yield {"number": number, "fault": "never told"}
        else:
            expected = told or msgspec.structs.asdict(
                ToldTerms(
                    account=number, limit_per_transaction_minor=None, limit_per_day_minor=None
                )
            )
            for term, value in expected.items():
                if value is not UNSET and held[term] != value:
                    yield {"number": number, "fault": f"{term} is {held[term]}, told {value}"}


async def _terms_told(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """The newest of each account, in the order of numbers."""
    newest: ToldTerms | None = None
    async for row in snapshots.rows(LEDGER, TERMS_TOLD, SET):
        for told in _readable(row["body"]):
            if newest is not None and newest.account != told.account:
                yield msgspec.structs.asdict(newest)
                newest = None
            if newest is None or told.version > newest.version:
                newest = told
    if newest is not None:
        yield msgspec.structs.asdict(newest)


def _readable(body: bytes) -> Iterator[ToldTerms]:
    try:
        yield _sets.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # outbox-true says so
