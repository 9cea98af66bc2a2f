"""A transaction is what its request had asked for, and what it was answered with."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from cbs.platform.invariants import Row, SnapshotReader

LEDGER, CREATED = "ledger", 201

# As the ledger writes it, byte for byte; a cast to JSON would end the whole query at a bad one.
TRANSACTION_ID = r"""substring(encode(body, 'escape')
    from '^\{"transaction":\{"id":"([0-9a-f-]{36})"')::uuid"""
ANSWERED = f"""
    SELECT principal, key, fingerprint, status, body, asked_at, answered_at,
        {TRANSACTION_ID} AS transaction_id
    FROM request WHERE status BETWEEN 200 AND 299"""
ASKED = f"""
    SELECT transaction.id AS transaction_id, asked.transaction_id AS answered_transaction_id,
        principals, keys
    FROM transaction FULL JOIN (
        SELECT transaction_id, array_agg(principal) AS principals, array_agg(key) AS keys
        FROM ({ANSWERED}) AS answered WHERE transaction_id IS NOT NULL GROUP BY transaction_id
    ) AS asked ON asked.transaction_id = transaction.id
    WHERE asked.transaction_id IS NULL OR transaction.id IS NULL OR cardinality(keys) <> 1"""
ORDERED = f"""
    SELECT principal, key, fingerprint, status, body, asked_at, answered_at, transaction_id, kind,
        currency, booked_on::text, value_on::text, booked_at, narrative, actor, accounts, amounts,
        balances, seqs
    FROM ({ANSWERED}) AS answered JOIN transaction ON transaction.id = transaction_id,
        LATERAL (
            SELECT array_agg(account ORDER BY leg) AS accounts,
                array_agg(amount_minor ORDER BY leg) AS amounts,
                array_agg(balance_after_minor ORDER BY leg) AS balances,
                array_agg(seq ORDER BY leg) AS seqs
            FROM posting WHERE posting.transaction_id = transaction.id
        ) AS legs"""


class AskedLeg(msgspec.Struct):
    account: str
    amount_minor: int


class AskedTransaction(msgspec.Struct):
    """What a caller asks for, its fields in the order of the fingerprint that is kept of it."""

    kind: str
    currency: str
    legs: list[AskedLeg]
    value_on: str | None
    narrative: str


class AnsweredLeg(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    amount_minor: int
    balance_after_minor: int
    seq: int


class AnsweredTransaction(msgspec.Struct, forbid_unknown_fields=True):
    id: UUID
    kind: str
    currency: str
    booked_on: str
    value_on: str
    booked_at: datetime
    narrative: str
    actor: str
    legs: list[AnsweredLeg]


class AnswerToAsked(msgspec.Struct, forbid_unknown_fields=True):
    transaction: AnsweredTransaction


_answers = msgspec.json.Decoder(AnswerToAsked)


async def booked_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Transactions that are not what the request which they answer had asked for."""
    async for row in snapshots.rows(LEDGER, ORDERED):
        if row["fingerprint"] not in _fingerprints(row):
            yield {each: row[each] for each in ("transaction_id", "principal", "key")}


def _fingerprints(row: Row) -> list[bytes]:
    """Of the requests that such a transaction would answer: who names no value date gets today."""
    legs = zip(row["accounts"] or (), row["amounts"] or (), strict=True)
    asked = AskedTransaction(
        kind=row["kind"],
        currency=row["currency"],
        legs=[AskedLeg(*leg) for leg in legs],
        value_on=row["value_on"],
        narrative=row["narrative"],
    )
    alike = [asked]
    if row["value_on"] == row["booked_on"]:
        alike.append(msgspec.structs.replace(asked, value_on=None))
    return [hashlib.sha256(msgspec.json.encode(each)).digest() for each in alike]


async def answered_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Kept answers that are not those which the book would give."""
    async for row in snapshots.rows(LEDGER, ORDERED):
        for fault in _faults(row):
            yield {"principal": row["principal"], "key": row["key"], "fault": fault}


def _faults(row: Row) -> Iterator[str]:
    if row["status"] != CREATED:
        yield f"answered {row['status']}"
    if (row["asked_at"], row["answered_at"]) != (row["booked_at"], row["booked_at"]):
        yield f"asked {row['asked_at']}, answered {row['answered_at']}, booked {row['booked_at']}"
    try:
        answered = _answers.decode(row["body"]).transaction
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        yield f"is no answer: {error}"
        return
    if answered != _answer(row):
        yield f"answered otherwise than transaction {row['transaction_id']} is booked"


def _answer(row: Row) -> AnsweredTransaction:
    columns = (row[each] or () for each in ("accounts", "amounts", "balances", "seqs"))
    return AnsweredTransaction(
        id=row["transaction_id"],
        kind=row["kind"],
        currency=row["currency"],
        booked_on=row["booked_on"],
        value_on=row["value_on"],
        booked_at=row["booked_at"],
        narrative=row["narrative"],
        actor=row["actor"],
        legs=[AnsweredLeg(*leg) for leg in zip(*columns, strict=True)],
    )
