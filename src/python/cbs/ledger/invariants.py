"""What must be true of the ledger's book, whoever wrote it and however."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from cbs.platform.invariants import BATCH_ROWS, Check, Row, SnapshotReader, query

LEDGER = "ledger"
POSTED = "cbs.ledger.events.transaction-posted"

CURRENCY_SUMS = """
    SELECT currency, sum(amount_minor) AS sum_minor
    FROM posting GROUP BY currency HAVING sum(amount_minor) <> 0"""
TRANSACTION_SUMS = """
    SELECT transaction_id, sum(amount_minor) AS sum_minor
    FROM posting GROUP BY transaction_id HAVING sum(amount_minor) <> 0"""
LEGS = """
    SELECT transaction.id AS transaction_id, count(transaction_id) AS legs
    FROM transaction LEFT JOIN posting ON transaction_id = transaction.id
    GROUP BY transaction.id HAVING count(transaction_id) < 2"""
ORPHANS = """
    SELECT account, seq, transaction_id FROM posting
    WHERE NOT EXISTS (SELECT FROM transaction WHERE transaction.id = transaction_id)
        OR NOT EXISTS (SELECT FROM account WHERE number = account)"""
CURRENCIES = """
    SELECT account, seq, transaction_id, posting.currency,
        transaction.currency AS of_transaction, account.currency AS of_account
    FROM posting JOIN transaction ON transaction.id = transaction_id
        JOIN account ON number = account
    WHERE posting.currency <> transaction.currency OR posting.currency <> account.currency"""
DATES = """
    SELECT account, seq, transaction_id, posting.booked_on, posting.value_on,
        transaction.booked_on AS transaction_booked_on, transaction.value_on AS transaction_value_on
    FROM posting JOIN transaction ON transaction.id = transaction_id
    WHERE (posting.booked_on, posting.value_on)
        IS DISTINCT FROM (transaction.booked_on, transaction.value_on)
        OR posting.value_on > posting.booked_on"""
BALANCES = """
    SELECT number, balance_minor, coalesce(total.amount_minor, 0) AS sum_of_postings_minor,
        account.postings, coalesce(total.postings, 0) AS count_of_postings
    FROM account LEFT JOIN (
        SELECT account, sum(amount_minor) AS amount_minor, count(*) AS postings
        FROM posting GROUP BY account
    ) AS total ON total.account = number
    WHERE (balance_minor, account.postings)
        IS DISTINCT FROM (coalesce(total.amount_minor, 0), coalesce(total.postings, 0))"""
CHAINS = """
    SELECT account, seq, due_seq, balance_after_minor, running_minor FROM (
        SELECT account, seq, balance_after_minor, row_number() OVER history AS due_seq,
            sum(amount_minor) OVER history AS running_minor
        FROM posting WINDOW history AS (PARTITION BY account ORDER BY seq)
    ) AS line
    WHERE seq <> due_seq OR balance_after_minor <> running_minor"""
BOUNDS = """
    SELECT number, balance_minor, floor_minor, ceiling_minor FROM account
    WHERE balance_minor < floor_minor OR balance_minor > ceiling_minor"""
CLOSED = "SELECT number, balance_minor FROM account WHERE closed AND balance_minor <> 0"
# A day's count begins with the first posting booked on it; should the clock go back after that,
# what is booked before midnight counts to the later day.
DEBITED = """
    SELECT number, debited_on, last_booked_on, debited_minor, limited_debits_minor
    FROM account LEFT JOIN (
        SELECT account, max(last_booked_on) AS last_booked_on,
            coalesce(sum(-amount_minor) FILTER (
                WHERE limited AND amount_minor < 0 AND seq >= first_seq), 0) AS limited_debits_minor
        FROM (
            SELECT posting.account, seq, amount_minor, limited, last_booked_on,
                min(seq) FILTER (WHERE booked_on = last_booked_on)
                    OVER (PARTITION BY posting.account) AS first_seq
            FROM posting JOIN (
                SELECT account, max(booked_on) AS last_booked_on FROM posting GROUP BY account
            ) AS last ON last.account = posting.account
        ) AS line GROUP BY account
    ) AS day ON account = number
    WHERE debited_on IS DISTINCT FROM last_booked_on
        OR debited_minor <> coalesce(limited_debits_minor, 0)"""
# As the ledger writes it, byte for byte; a cast to JSON would end the whole query at a bad one.
ANSWERED = r"""
    SELECT principal, key, fingerprint, substring(encode(body, 'escape')
        from '^\{"transaction":\{"id":"([0-9a-f-]{36})"')::uuid AS transaction_id
    FROM request WHERE status BETWEEN 200 AND 299"""
ASKED = f"""
    SELECT transaction.id AS transaction_id, asked.transaction_id AS answered_transaction_id,
        principals, keys
    FROM transaction FULL JOIN (
        SELECT transaction_id, array_agg(principal) AS principals, array_agg(key) AS keys
        FROM ({ANSWERED}) AS answered WHERE transaction_id IS NOT NULL GROUP BY transaction_id
    ) AS asked ON asked.transaction_id = transaction.id
    WHERE asked.transaction_id IS NULL OR transaction.id IS NULL OR cardinality(keys) <> 1"""
TOLD = r"""
    SELECT transaction.id AS transaction_id, told.transaction_id AS told_transaction_id, positions
    FROM transaction FULL JOIN (
        SELECT substring(encode(body, 'escape')
                from '"transaction_id":"([0-9a-f-]{36})"')::uuid AS transaction_id,
            array_agg(position) AS positions
        FROM outbox WHERE subject = $1 GROUP BY 1
    ) AS told ON told.transaction_id = transaction.id
    WHERE told.transaction_id IS NULL OR transaction.id IS NULL OR cardinality(positions) <> 1"""
FACTS = "SELECT position, body FROM outbox WHERE subject = $1 ORDER BY position"
BOOKED = """
    SELECT transaction.id, transaction.kind, transaction.currency, transaction.booked_on::text,
        transaction.value_on::text,
        array_agg(account ORDER BY leg) AS accounts,
        array_agg(amount_minor ORDER BY leg) AS amounts,
        array_agg(balance_after_minor ORDER BY leg) AS balances, array_agg(seq ORDER BY leg) AS seqs
    FROM transaction JOIN posting ON transaction_id = transaction.id
    WHERE transaction.id = ANY($1::uuid[]) GROUP BY transaction.id"""


ORDERED = f"""
    SELECT principal, key, fingerprint, transaction_id, kind, currency, booked_on::text,
        value_on::text, narrative, accounts, amounts
    FROM ({ANSWERED}) AS answered JOIN transaction ON transaction.id = transaction_id,
        LATERAL (
            SELECT array_agg(account ORDER BY leg) AS accounts,
                array_agg(amount_minor ORDER BY leg) AS amounts
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
    legs: list[ToldLeg]


class ToldFact(msgspec.Struct):
    data: ToldTransaction


_facts = msgspec.json.Decoder(ToldFact)


async def booked_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Transactions that are not what the request which they answer had asked for."""
    async for batch in snapshots.batches(LEDGER, ORDERED):
        for row in batch:
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


async def told_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Facts whose transaction is in the book, but not with these legs."""
    async for batch in snapshots.batches(LEDGER, FACTS, POSTED):
        for row in await _told_otherwise(snapshots, batch):
            yield row


async def _told_otherwise(snapshots: SnapshotReader, batch: Sequence[Row]) -> list[Row]:
    assert len(batch) <= BATCH_ROWS, len(batch)
    wrong: list[Row] = []
    told: dict[int, ToldTransaction] = {}
    for row in batch:
        try:
            told[row["position"]] = _facts.decode(row["body"]).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong.append({"position": row["position"], "error": str(error)})
    ids = [each.transaction_id for each in told.values()]
    booked = {row["id"]: _booked(row) for row in await snapshots[LEDGER].fetch(BOOKED, ids)}
    for position, transaction in told.items():
        there = booked.get(transaction.transaction_id)
        if there is not None and there != transaction:
            wrong.append({"position": position, "transaction_id": transaction.transaction_id})
    return wrong


def _booked(row: Any) -> ToldTransaction:
    legs = zip(row["accounts"], row["amounts"], row["balances"], row["seqs"], strict=True)
    return ToldTransaction(
        transaction_id=row["id"],
        kind=row["kind"],
        currency=row["currency"],
        booked_on=row["booked_on"],
        value_on=row["value_on"],
        legs=[ToldLeg(*leg) for leg in legs],
    )


CHECKS = (
    query(LEDGER, "currency-sums", "postings sum to zero in every currency", CURRENCY_SUMS),
    query(LEDGER, "transaction-sums", "each transaction's legs sum to zero", TRANSACTION_SUMS),
    query(LEDGER, "transaction-legs", "a transaction has two legs or more", LEGS),
    query(LEDGER, "posting-owners", "a posting has its transaction and its account", ORPHANS),
    query(LEDGER, "one-currency", "legs, transaction and accounts share a currency", CURRENCIES),
    query(LEDGER, "dates", "legs carry the dates of their transaction", DATES),
    query(LEDGER, "balances", "a balance is the sum of its postings", BALANCES),
    query(LEDGER, "chains", "an account's postings follow each other without a gap", CHAINS),
    query(LEDGER, "bounds", "no balance is below its floor or above its ceiling", BOUNDS),
    query(LEDGER, "closed-at-zero", "a closed account holds nothing", CLOSED),
    query(LEDGER, "debited-today", "what counts to a day's limit is what was debited", DEBITED),
    query(
        LEDGER, "asked-once", "each transaction answers one request, and each answer has one", ASKED
    ),
    Check(
        service=LEDGER,
        name="booked-as-asked",
        promise="a transaction is what its request asked for: accounts, amounts, text, value date",
        find=booked_otherwise,
    ),
    query(
        LEDGER,
        "told-once",
        "each transaction is told in one fact, and each fact has one",
        TOLD,
        POSTED,
    ),
    Check(
        service=LEDGER,
        name="told-as-booked",
        promise="a fact tells the legs that are in the book",
        find=told_otherwise,
    ),
)
