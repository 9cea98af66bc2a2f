"""The hot path: a batch of orders becomes one transaction, in asyncpg and plain SQL.

Locks are taken in one order, accounts by number and then keys, so that batches of several
instances never wait for each other in a circle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import KeyReused, Refusal, Unavailable
from cbs.ledger.application.book import BatchAborted, OutcomeUnknown
from cbs.ledger.domain.account import Account
from cbs.ledger.domain.transaction import Order, Transaction, decide
from cbs.ledger.store.rows import ACCOUNT_COLUMNS, account_of
from cbs.platform import telemetry
from cbs.platform.database import UNREACHABLE, Database
from cbs.platform.outbox import Outbox

KEPT = """
    SELECT principal, key, fingerprint, status, body
    FROM request JOIN unnest($1::text[], $2::text[]) AS asked (principal, key)
    USING (principal, key)"""
LOCK = f"""
    SELECT {ACCOUNT_COLUMNS} FROM account WHERE number = ANY($1::text[])
    ORDER BY number FOR NO KEY UPDATE"""
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

TRIES_MAX = 3

Name = tuple[str, str]
Outcome = Answer | Refusal

log = structlog.get_logger()


class _Raced(Exception):
    """Another instance kept one of the keys after we looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePath:
    database: Database
    outbox: Outbox
    view: Callable[[Transaction], bytes]
    refused: Callable[[Refusal], Answer]
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]

    async def post(self, orders: Sequence[Order]) -> list[Outcome]:
        assert orders, "a batch has orders"
        telemetry.BATCH.observe(len(orders))
        for _ in range(TRIES_MAX):
            try:
                return await self._once(orders)
            except _Raced:
                continue
        raise BatchAborted("other instances keep taking the same keys")

    async def answers(self, orders: Sequence[Order]) -> list[Outcome | None]:
        try:
            async with self.database.acquired() as connection:
                kept = await _kept(connection, orders)
        except UNREACHABLE as error:
            raise Unavailable from error
        return [_answer(kept.get(_name(order)), order) for order in orders]

    async def _once(self, orders: Sequence[Order]) -> list[Outcome]:
        transaction = self.database.transaction()
        committing = False
        try:
            async with transaction:
                with telemetry.span("batch", kind="client", orders=str(len(orders))):
                    outcomes = await self._decided(self.database.connection, orders)
                committing = True
            return outcomes
        except UNREACHABLE as error:
            log.warning("batch-lost", orders=len(orders), committing=committing, error=repr(error))
            if committing:
                raise OutcomeUnknown from error
            raise Unavailable from error
        except asyncpg.PostgresError as error:
            log.error("batch-aborted", orders=len(orders), error=repr(error))
            raise BatchAborted from error

    async def _decided(self, connection: Any, orders: Sequence[Order]) -> list[Outcome]:
        kept = await _kept(connection, orders)
        numbers = {leg.account for order in orders for leg in order.wanted.legs}
        accounts: dict[str, Account] = {}
        if any(_name(order) not in kept for order in orders):
            rows = await connection.fetch(LOCK, sorted(numbers))
            accounts = {row["number"]: account_of(row) for row in rows}
        at = self.now()
        fresh: dict[Name, tuple[Order, Answer]] = {}
        posted: list[tuple[Order, Transaction]] = []
        outcomes: list[Outcome] = []
        for order in orders:
            name = _name(order)
            known = kept.get(name) or (
                (name in fresh and (fresh[name][0].fingerprint, fresh[name][1])) or None
            )
            if (outcome := _answer(known, order)) is None:
                outcome = self._decide(order, accounts, at, posted)
                if isinstance(outcome, Answer):
                    fresh[name] = (order, outcome)
            outcomes.append(outcome)
        await self._write(connection, list(fresh.values()), posted, at)
        return outcomes

    def _decide(
        self,
        order: Order,
        accounts: dict[str, Account],
        at: datetime,
        posted: list[tuple[Order, Transaction]],
    ) -> Outcome:
        try:
            transaction, after = decide(order, accounts, id=self.new_id(), at=at)
        except Refusal as refusal:
            return self.refused(refusal) if refusal.lasting else refusal
        accounts.update(after)
        posted.append((order, transaction))
        return Answer(status=201, body=self.view(transaction))

    async def _write(
        self,
        connection: Any,
        fresh: Sequence[tuple[Order, Answer]],
        posted: Sequence[tuple[Order, Transaction]],
        at: datetime,
    ) -> None:
        if posted:
            await connection.execute(TRANSACTIONS, *_transaction_columns(posted))
            await connection.execute(POSTINGS, *_posting_columns(posted))
        if fresh:
            claims = sorted(fresh, key=lambda claim: _name(claim[0]))
            done = await connection.execute(
                CLAIM,
                [order.principal for order, _ in claims],
                [order.key for order, _ in claims],
                [order.fingerprint for order, _ in claims],
                [answer.status for _, answer in claims],
                [answer.body for _, answer in claims],
                [at] * len(claims),
            )
            if done != f"INSERT 0 {len(claims)}":
                raise _Raced
        await self.outbox.put_all([(each.to_event(), order.origin) for order, each in posted])


def _name(order: Order) -> Name:
    return order.principal, order.key


async def _kept(connection: Any, orders: Sequence[Order]) -> dict[Name, tuple[bytes, Answer]]:
    rows = await connection.fetch(
        KEPT, [order.principal for order in orders], [order.key for order in orders]
    )
    return {
        (row["principal"], row["key"]): (
            row["fingerprint"],
            Answer(status=row["status"], body=row["body"]),
        )
        for row in rows
        if row["status"] is not None
    }


def _answer(known: tuple[bytes, Answer] | None, order: Order) -> Outcome | None:
    if known is None:
        return None
    fingerprint, answer = known
    return answer if fingerprint == order.fingerprint else KeyReused()


def _transaction_columns(posted: Sequence[tuple[Order, Transaction]]) -> list[list[Any]]:
    each = [transaction for _, transaction in posted]
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


def _posting_columns(posted: Sequence[tuple[Order, Transaction]]) -> list[tuple[Any, ...]]:
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
        for _, t in posted
        for number, leg in enumerate(t.legs)
    ]
    return list(zip(*rows, strict=True))
