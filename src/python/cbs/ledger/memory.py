"""The book in memory; tests/ledger/test_book.py holds it to what PostgreSQL does.

The write path on it is the service's own. What is posted is checked as PostgreSQL does: it
balances, follows from its accounts, and leaves them within their floors and ceilings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Book, Posting
from cbs.ledger.domain.account import Account, AccountKind, AccountSet, NoSuchAccount, Terms
from cbs.ledger.domain.days import EVER, Days
from cbs.ledger.domain.transaction import Order, PostedLeg, Transaction
from cbs.ledger.main import write_path
from cbs.ledger.store.write_path import Name, WritePath
from cbs.platform.idempotency import KeptRequest, KeyedRequest, KeyState
from cbs.platform.memory.database import MemoryDatabase, Table, memory_of
from cbs.platform.memory.stores import answered
from cbs.platform.outbox import Outbox
from cbs.platform.service import Runtime
from cbs.platform.settings import Settings

CHART = {
    number: Account(
        number=number,
        kind=AccountKind.INTERNAL,
        currency=Currency.INR,
        terms=Terms(floor_minor=None),
    )
    for number in ("INR-CASH", "INR-CLEARING", "INR-SUSPENSE", "INR-FEES", "INR-INTEREST")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The tables of the book."""

    database: MemoryDatabase

    @property
    def chart(self) -> Table[str, Account]:
        return self.database.table("account", CHART)

    @property
    def posted(self) -> Table[UUID, Transaction]:
        return self.database.table("transaction")

    @property
    def postings(self) -> Table[tuple[str, int], Posting]:
        """By account and number."""
        return self.database.table("posting")

    @property
    def requests(self) -> Table[Name, KeptRequest]:
        return self.database.table("request")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBatches(Rows):
    async def kept(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, Answer]]:
        await self.database.call()
        found: dict[Name, tuple[bytes, Answer]] = {}
        for name in names:
            if (kept := self.requests.get(name)) is not None and kept.answer is not None:
                found[name] = (kept.fingerprint, kept.answer)
        return found

    async def lock(self, numbers: Sequence[str]) -> dict[str, Account]:
        await self.database.call()
        return {number: self.chart[number] for number in numbers if number in self.chart}

    async def post(self, transactions: Sequence[Transaction]) -> None:
        await self.database.call()
        for transaction in transactions:
            assert transaction.id not in self.posted, transaction
            assert sum(leg.amount_minor for leg in transaction.legs) == 0, transaction
            self.posted[transaction.id] = transaction
            for leg in transaction.legs:
                self._post_leg(transaction, leg)

    def _post_leg(self, transaction: Transaction, leg: PostedLeg) -> None:
        known = self.chart[leg.account]
        account = known.posted(
            leg.amount_minor, limited=transaction.limited, on=transaction.booked_on
        )
        balance, terms = account.balance_minor, known.terms
        assert (balance, account.postings) == (leg.balance_after_minor, leg.seq), (leg, known)
        assert not terms.closed and known.currency is transaction.currency, (leg, known)
        assert terms.floor_minor is None or balance >= terms.floor_minor, (leg, known)
        assert terms.ceiling_minor is None or balance <= terms.ceiling_minor, (leg, known)
        self.chart[leg.account] = account
        self.postings[leg.account, leg.seq] = Posting(
            seq=leg.seq,
            transaction_id=transaction.id,
            kind=transaction.kind,
            amount_minor=leg.amount_minor,
            balance_after_minor=leg.balance_after_minor,
            currency=transaction.currency,
            booked_on=transaction.booked_on,
            value_on=transaction.value_on,
            booked_at=transaction.booked_at,
            narrative=transaction.narrative,
        )

    async def claim(self, decided: Sequence[tuple[Order, Answer]], *, at: datetime) -> bool:
        await self.database.call()
        fresh = [each for each in decided if (each[0].principal, each[0].key) not in self.requests]
        for order, answer in fresh:
            asked = KeyedRequest(key=order.key, state=KeyState.UNDER_WAY, asked_at=at)
            kept = KeptRequest(fingerprint=order.fingerprint, request=asked)
            self.requests[order.principal, order.key] = answered(kept, answer, at)
        return len(fresh) == len(decided)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBook(Rows):
    outbox: Outbox
    writes: WritePath

    async def post(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        return await self.writes.post(orders)

    async def answers(self, orders: Sequence[Order]) -> list[Answer | Refusal | None]:
        return await self.writes.answers(orders)

    async def open_account(
        self, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> Account:
        await self.database.call()
        if (known := self.chart.get(number)) is not None:
            known.check_same(kind=kind, currency=currency, terms=terms)
            return known
        opened = Account.open(number=number, kind=kind, currency=currency, terms=terms)
        return await self._set(*opened)

    async def change_terms(self, *, number: str, terms: Terms) -> Account:
        await self.database.call()
        if (known := self.chart.get(number)) is None:
            raise NoSuchAccount(number)
        changed = known.change_terms(terms)
        return known if changed is None else await self._set(*changed)

    async def _set(self, account: Account, event: AccountSet) -> Account:
        self.chart[account.number] = account
        await self.outbox.put(event)
        return account

    async def accounts(self, numbers: Sequence[str]) -> list[Account]:
        await self.database.call()
        return [self.chart[number] for number in numbers if number in self.chart]

    async def accounts_after(self, number: str, *, limit: int) -> list[Account]:
        await self.database.call()
        return [self.chart[each] for each in sorted(self.chart) if each > number][:limit]

    async def balance_on(self, number: str, value_on: date) -> int:
        await self.database.call()
        return sum(
            posting.amount_minor
            for (account, _), posting in self.postings.items()
            if account == number and posting.value_on <= value_on
        )

    async def history(
        self, number: str, *, before: int, limit: int, of: Days = EVER
    ) -> list[Posting]:
        await self.database.call()
        last = self.chart[number].postings if number in self.chart else 0
        found = (self.postings[number, seq] for seq in range(min(before - 1, last), 0, -1))
        return [*islice(filter(of.have, found), limit)]

    async def transaction(self, id: UUID) -> Transaction | None:
        await self.database.call()
        return self.posted.get(id)


def in_memory(runtime: Runtime[Settings]) -> Book:
    database = memory_of(runtime.database)
    writes = write_path(runtime, MemoryBatches(database=database))
    return MemoryBook(database=database, outbox=runtime.outbox, writes=writes)
