"""The hot path: a batch of orders becomes one transaction.

Locks are taken in one order, accounts by number and then keys, so that batches of several
instances never wait for each other in a circle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import KeyReused, Refusal, Unavailable
from cbs.ledger.application.book import BatchAborted, OutcomeUnknown
from cbs.ledger.domain.account import Account
from cbs.ledger.domain.transaction import Order, Transaction, decide
from cbs.platform import telemetry
from cbs.platform.database import UNREACHABLE, Transactions
from cbs.platform.outbox import Outbox

TRIES_MAX = 3

Name = tuple[str, str]
Outcome = Answer | Refusal

log = structlog.get_logger()


class BatchStore(Protocol):
    """What a batch reads and writes, each in one statement of the caller's transaction."""

    async def kept(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, Answer]]:
        """Fingerprint and answer of each key that has one; needs no transaction."""
        ...

    async def lock(self, numbers: Sequence[str]) -> dict[str, Account]:
        """Those that there are, in the order given, until the transaction ends."""
        ...

    async def post(self, transactions: Sequence[Transaction]) -> None:
        """Keep them and move the balances; each balances, and follows from its accounts."""
        ...

    async def claim(self, decided: Sequence[tuple[Order, Answer]], *, at: datetime) -> bool:
        """Keep the answers; False if another instance kept one of the keys meanwhile."""
        ...


class _Raced(Exception):
    """Another instance kept one of the keys after we looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePath:
    database: Transactions
    outbox: Outbox
    store: BatchStore
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
            kept = await self.store.kept([_name(order) for order in orders])
        except UNREACHABLE as error:
            raise Unavailable from error
        return [_answer(kept.get(_name(order)), order) for order in orders]

    async def _once(self, orders: Sequence[Order]) -> list[Outcome]:
        transaction = self.database.transaction()
        committing = False
        try:
            async with transaction:
                with telemetry.span("batch", kind="client", orders=str(len(orders))):
                    outcomes = await self._decided(orders)
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

    async def _decided(self, orders: Sequence[Order]) -> list[Outcome]:
        kept = await self.store.kept([_name(order) for order in orders])
        numbers = {leg.account for order in orders for leg in order.wanted.legs}
        accounts: dict[str, Account] = {}
        if any(_name(order) not in kept for order in orders):
            accounts = await self.store.lock(sorted(numbers))
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
        await self._write(list(fresh.values()), posted, at)
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
        fresh: Sequence[tuple[Order, Answer]],
        posted: Sequence[tuple[Order, Transaction]],
        at: datetime,
    ) -> None:
        if posted:
            await self.store.post([transaction for _, transaction in posted])
        if fresh:
            claims = sorted(fresh, key=lambda claim: _name(claim[0]))
            if not await self.store.claim(claims, at=at):
                raise _Raced
        await self.outbox.put_all(
            [(each.to_event(key=order.key), order.origin) for order, each in posted]
        )


def _name(order: Order) -> Name:
    return order.principal, order.key


def _answer(known: tuple[bytes, Answer] | None, order: Order) -> Outcome | None:
    if known is None:
        return None
    fingerprint, answer = known
    return answer if fingerprint == order.fingerprint else KeyReused()
