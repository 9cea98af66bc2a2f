"""Batches in PostgreSQL: plain SQL, one statement for all rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Unavailable
from cbs.ledger.domain.account import Account
from cbs.ledger.domain.transaction import Order, Transaction
from cbs.ledger.store.rows import ACCOUNT_COLUMNS, account_of
from cbs.ledger.store.write_path import Name
from cbs.platform.context import now
from cbs.platform.database import Database

# A lock may be waited for as long as a request may take, and the database is asked before.
CLOCK_SECONDS_MAX = 60

log = structlog.get_logger()

KEPT = """
    SELECT principal, key, fingerprint, status, body
    FROM request JOIN unnest($1::text[], $2::text[]) AS asked (principal, key)
    USING (principal, key)"""
LOCK = f"""
    SELECT {ACCOUNT_COLUMNS}, clock_timestamp() AS database_at
    FROM account WHERE number = ANY($1::text[]) ORDER BY number FOR NO KEY UPDATE"""
TRANSACTIONS = """
    INSERT INTO transaction (id, kind, currency, booked_on, value_on, booked_at, narrative, actor)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[],
        $6::timestamptz[], $7::text[], $8::text[])"""
POSTINGS = """
    INSERT INTO posting (account, seq, transaction_id, leg, amount_minor, balance_after_minor,
        currency, booked_on, value_on, limited)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::smallint[], $5::bigint[],
        $6::bigint[], $7::text[], $8::date[], $9::date[], $10::boolean[])"""
CLAIM = """
    INSERT INTO request (principal, key, fingerprint, status, body, asked_at, answered_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[],
        $6::timestamptz[], $6::timestamptz[])
    ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBatches:
    database: Database

    async def kept(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, Answer]]:
        async with self.database.acquired() as connection:
            rows = await connection.fetch(
                KEPT, [principal for principal, _ in names], [key for _, key in names]
            )
        return {
            (row["principal"], row["key"]): (
                row["fingerprint"],
                Answer(status=row["status"], body=row["body"]),
            )
            for row in rows
            if row["status"] is not None
        }

    async def lock(self, numbers: Sequence[str]) -> dict[str, Account]:
        rows = await self.database.connection.fetch(LOCK, numbers)
        if rows:
            _check_clock(rows[0]["database_at"], now())
        return {row["number"]: account_of(row) for row in rows}

    async def post(self, transactions: Sequence[Transaction]) -> None:
        connection = self.database.connection
        await connection.execute(TRANSACTIONS, *_transaction_columns(transactions))
        await connection.execute(POSTINGS, *_posting_columns(transactions))

    async def claim(self, decided: Sequence[tuple[Order, Answer]], *, at: datetime) -> bool:
        done = await self.database.connection.execute(
            CLAIM,
            [order.principal for order, _ in decided],
            [order.key for order, _ in decided],
            [order.fingerprint for order, _ in decided],
            [answer.status for _, answer in decided],
            [answer.body for _, answer in decided],
            [at] * len(decided),
        )
        return bool(done == f"INSERT 0 {len(decided)}")


def _check_clock(database_at: datetime, at: datetime) -> None:
    """What is booked has the date of this service's clock, and a limit of a day counts on until
    then: one that is not the database's books nothing. Raises Unavailable."""
    ahead = (at - database_at).total_seconds()
    if abs(ahead) > CLOCK_SECONDS_MAX:
        log.error("clock-not-plausible", seconds_ahead=round(ahead))
        raise Unavailable(
            f"the clock here is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of"
            " the database, so nothing is posted: set the one that is wrong"
        )


def _transaction_columns(each: Sequence[Transaction]) -> list[list[Any]]:
    return [
        [t.id for t in each],
        [t.kind for t in each],
        [t.currency.value for t in each],
        [t.booked_on for t in each],
        [t.value_on for t in each],
        [t.booked_at for t in each],
        [t.narrative for t in each],
        [t.actor for t in each],
    ]


def _posting_columns(posted: Sequence[Transaction]) -> list[tuple[Any, ...]]:
    rows = [
        (
            leg.account,
            leg.seq,
            t.id,
            number,
            leg.amount_minor,
            leg.balance_after_minor,
            t.currency.value,
            t.booked_on,
            t.value_on,
            t.limited,
        )
        for t in posted
        for number, leg in enumerate(t.legs)
    ]
    return list(zip(*rows, strict=True))
