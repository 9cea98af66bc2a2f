"""The book as its callers need it: postings gathered into batches, and questions answered."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Busy, Refusal, Unavailable
from cbs.ledger.domain.account import Account, AccountKind, NoSuchAccount, NumberTaken, Terms
from cbs.ledger.domain.days import EVER, Days
from cbs.ledger.domain.transaction import NoSuchTransaction, Order, Transaction

BATCH_ORDERS_MAX, BATCHES_IN_FLIGHT_MAX, WAITING_ORDERS_MAX = 256, 2, 2_048
SECOND_BATCH_ORDERS_MIN = 32


@published_as("cbs.ledger.api.views.PostingView")
@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    seq: int
    transaction_id: UUID
    kind: str
    amount_minor: int
    balance_after_minor: int
    currency: Currency
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str


class OutcomeUnknown(Exception):
    """The store was lost while it committed: the orders took effect, or will not."""


class BatchAborted(Exception):
    """The store undid the batch; one of its orders may be the cause."""


class Book(Protocol):
    """Where the postings are."""

    async def post(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        """Decide the orders in turn and keep what follows, all in one durable step.

        Each gets the answer kept under its key; a refusal that is not kept comes as itself.
        Raises Unavailable or BatchAborted when nothing has happened, and OutcomeUnknown when
        all of it may have.
        """
        ...

    async def answers(self, orders: Sequence[Order]) -> list[Answer | Refusal | None]:
        """What is kept under the orders' keys; None where nothing is."""
        ...

    async def open_account(
        self, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> Account:
        """Open it, in the caller's transaction; the one that is open already if it is the same.

        Raises NumberTaken if that one is not the same, and what a new account cannot have."""
        ...

    async def change_terms(self, *, number: str, terms: Terms) -> Account:
        """Put it on these terms, in the caller's transaction, unless it has these or newer ones.

        Raises NoSuchAccount, and what its balance does not allow."""
        ...

    async def accounts(self, numbers: Sequence[str]) -> list[Account]: ...
    async def accounts_after(self, number: str, *, limit: int) -> list[Account]: ...
    async def balance_on(self, number: str, value_on: date) -> int: ...
    async def history(
        self, number: str, *, before: int, limit: int, of: Days = EVER
    ) -> list[Posting]:
        """Newest first, of those in these days."""
        ...

    async def transaction(self, id: UUID) -> Transaction | None: ...


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Callers send one order each; what arrives while a batch is under way goes in the next.

    An order that finds nothing under way leaves at once, alone.
    """

    book: Book
    _waiting: deque[tuple[Order, "asyncio.Future[Answer | Refusal]"]] = field(default_factory=deque)
    _batches: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def post(self, order: Order) -> Answer:
        """Post it, or give the answer that its key has; raises Busy and Unavailable."""
        if len(self._waiting) >= WAITING_ORDERS_MAX:
            raise Busy
        answer: asyncio.Future[Answer | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting.append((order, answer))
        self._start_batches()
        outcome = await answer
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def _start_batches(self) -> None:
        while self._waiting and (
            not self._batches
            or (
                len(self._batches) < BATCHES_IN_FLIGHT_MAX
                and len(self._waiting) >= SECOND_BATCH_ORDERS_MIN
            )
        ):
            size = min(len(self._waiting), BATCH_ORDERS_MAX)
            batch = [self._waiting.popleft() for _ in range(size)]
            # Whoever has gone meanwhile has not been told anything: their order need not run.
            batch = [(order, answer) for order, answer in batch if not answer.done()]
            if batch:
                task = asyncio.create_task(self._decide(batch))
                self._batches.add(task)
                task.add_done_callback(self._batch_done)

    def _batch_done(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._start_batches()

    async def _decide(
        self, batch: Sequence[tuple[Order, "asyncio.Future[Answer | Refusal]"]]
    ) -> None:
        outcomes: Sequence[Answer | Refusal] = [Unavailable()] * len(batch)
        try:
            outcomes = await self._outcomes([order for order, _ in batch])
        finally:
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():
                    answer.set_result(outcome)

    async def _outcomes(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        try:
            return await self.book.post(orders)
        except OutcomeUnknown:
            return await self._looked_up(orders)
        except Unavailable as refusal:
            return [refusal] * len(orders)
        except BatchAborted:
            if len(orders) == 1:
                return [Unavailable("the book could not take this order")]
        # One bad order must not hurt its neighbours: each is tried alone.
        return [(await self._outcomes([order]))[0] for order in orders]

    async def _looked_up(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        kept: Sequence[Answer | Refusal | None] = [None] * len(orders)
        with suppress(Unavailable):
            kept = await self.book.answers(orders)
        return [answer or Unavailable("ask again with the same key") for answer in kept]

    async def set_account(
        self, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> Account:
        """What a release asks that knows only this: open it, or else put it on newer terms."""
        known = await self.book.accounts([number])
        if not known:
            return await self.book.open_account(
                number=number, kind=kind, currency=currency, terms=terms
            )
        if (known[0].kind, known[0].currency) != (kind, currency):
            raise NumberTaken
        return await self.book.change_terms(number=number, terms=terms)

    async def account(self, number: str) -> Account:
        found = await self.book.accounts([number])
        if not found:
            raise NoSuchAccount(number)
        return found[0]

    async def transaction(self, id: UUID) -> Transaction:
        found = await self.book.transaction(id)
        if found is None:
            raise NoSuchTransaction
        return found
