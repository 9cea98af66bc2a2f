"""The stores in memory, and a ledger of two ideas: versions, and a balance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from cbs.accounts.application.accounts import Accounts, Posting
from cbs.accounts.application.changes import Advance, Changes, Standing
from cbs.accounts.domain.account import Account, AccountNotEmpty, FloorAboveBalance, State
from cbs.accounts.domain.change import Asker, Change, Step
from cbs.accounts.domain.product import Product, ProductKind, ProductKnown
from cbs.accounts.http.desk import view
from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.money import Currency
from cbs.platform.context import new_id
from cbs.platform.problem import answer_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAVINGS = Product(
    code="SAVINGS-INR", name="Savings account", kind=ProductKind.SAVINGS, currency=Currency.INR
)
CURRENT = Product(
    code="CURRENT-INR",
    name="Current account",
    kind=ProductKind.CURRENT,
    currency=Currency.INR,
    overdraft_max_minor=1_000,
    limit_per_day_minor=500,
)
GOOD = Standing(verified=True, active=True)


def asker(key: str = "key-0001") -> Asker:
    return Asker(principal="asha", key=key)


@dataclass
class InMemoryProducts:
    kept: dict[str, Product] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)

    async def add(self, product: Product) -> None:
        if product.code in self.kept:
            raise ProductKnown
        self.kept[product.code] = product
        self.facts.append(product.news())

    async def get(self, code: str) -> Product | None:
        return self.kept.get(code)

    async def page(self, *, after: str, limit: int) -> list[Product]:
        return [self.kept[code] for code in sorted(self.kept) if code > after][:limit]


@dataclass
class InMemoryAccounts:
    """Accounts and their changes; `clock` is in seconds, and stands still by itself."""

    clock: float = 0.0
    lease_seconds: float = 10.0
    rows: dict[UUID, Account] = field(default_factory=dict)
    changes: dict[UUID, Change] = field(default_factory=dict)
    leases: dict[UUID, float] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)
    serials: Iterator[int] = field(default_factory=lambda: count(1))

    async def next_serial(self) -> int:
        return next(self.serials)

    async def begin(self, account: Account, change: Change) -> None:
        self._keep(account, change)

    async def change(
        self, account_id: UUID, begin: Callable[[Account], tuple[Account, Change]]
    ) -> Change | None:
        if account_id not in self.rows:
            return None
        account, change = begin(self.rows[account_id])
        self._keep(account, change)
        return change

    def _keep(self, account: Account, change: Change) -> None:
        self.rows[account.id], self.changes[change.id] = account, change
        self.leases[change.id] = self.clock + self.lease_seconds

    async def get(self, account_id: UUID) -> Account | None:
        return self.rows.get(account_id)

    async def by_number(self, number: str) -> Account | None:
        return next((each for each in self.rows.values() if each.number == number), None)

    async def page(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        found = [
            each
            for each in self.rows.values()
            if each.customer_id == customer_id
            and each.id > after
            and each.state is not State.REFUSED
        ]
        return sorted(found, key=lambda each: each.id)[:limit]

    async def account(self, account_id: UUID) -> Account:
        return self.rows[account_id]

    async def advance(self, change: Change, advance: Callable[[Account], Advance]) -> Change | None:
        if self.changes[change.id].step is not change.step:
            return None
        taken = advance(self.rows[change.account_id])
        self.rows[change.account_id] = taken.account
        known = replace(change, step=taken.to, version=taken.version, refusal=taken.refusal)
        self.changes[change.id] = known
        if taken.answer is not None:
            self.answers[change.asker.principal, change.asker.key] = taken.answer
        if taken.news is not None:
            self.facts.append(taken.news)
        return known

    def _free(self) -> list[Change]:
        free = [
            change
            for change in self.changes.values()
            if change.step is not Step.DONE and self.leases[change.id] < self.clock
        ]
        return sorted(free, key=lambda change: self.leases[change.id])

    async def take(self, *, principal: str, key: str, lease_seconds: float) -> Change | None:
        for change in self._free():
            if (change.asker.principal, change.asker.key) == (principal, key):
                self.leases[change.id] = self.clock + lease_seconds
                return change
        return None

    async def take_due(self, *, limit: int, lease_seconds: float) -> list[Change]:
        due = self._free()[:limit]
        self.leases.update({change.id: self.clock + lease_seconds for change in due})
        return due

    async def defer(self, change: Change, *, seconds: float, error: str) -> None:
        known = self.changes[change.id]
        self.changes[change.id] = replace(known, tries=known.tries + 1)
        self.leases[change.id] = self.clock + seconds

    async def unfinished(self) -> int:
        return sum(change.step is not Step.DONE for change in self.changes.values())


@dataclass
class FakeBook:
    """As the ledger: terms of a version that is not newer change nothing."""

    held: dict[str, Account] = field(default_factory=dict)
    balance_minor: dict[str, int] = field(default_factory=dict)
    postings: list[Posting] = field(default_factory=list)

    async def hold(self, account: Account) -> None:
        known = self.held.get(account.number)
        if known is not None and account.version <= known.version:
            return
        balance = self.balance_minor.get(account.number, 0)
        if account.state is State.CLOSING and balance != 0:
            raise AccountNotEmpty
        if balance < -account.terms.overdraft_minor:
            raise FloorAboveBalance
        self.held[account.number] = account

    async def balances(self, numbers: Sequence[str]) -> Mapping[str, int]:
        return {
            number: self.balance_minor.get(number, 0) for number in numbers if number in self.held
        }

    async def history(self, number: str, *, before: int | None, limit: int) -> list[Posting]:
        older = [each for each in self.postings if before is None or each.seq < before]
        return sorted(older, key=lambda each: -each.seq)[:limit]


@dataclass
class FakeCustomers:
    answer: Standing = GOOD

    async def standing(self, customer_id: UUID) -> Standing:
        return self.answer


@dataclass
class Bank:
    """The use cases on what is in memory."""

    store: InMemoryAccounts = field(default_factory=InMemoryAccounts)
    book: FakeBook = field(default_factory=FakeBook)
    customers: FakeCustomers = field(default_factory=FakeCustomers)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def accounts(self) -> Accounts:
        products = InMemoryProducts(kept={each.code: each for each in (SAVINGS, CURRENT)})
        return Accounts(accounts=self.store, products=products, book=self.book, new_id=new_id)

    @property
    def changes(self) -> Changes:
        return Changes(
            store=self.store,
            book=self.book,
            customers=self.customers,
            now=lambda: NOON,
            view=view,
            refused=answer_of,
            as_service_for=lambda change: nullcontext(),
            failed=lambda change, error: self.failures.append(error),
            lease_seconds=self.store.lease_seconds,
        )

    async def begin_opening(self, key: str = "open-0001", *, overdraft_minor: int = 0) -> Change:
        return await self.accounts.open(
            customer_id=UUID(int=7),
            product=CURRENT.code,
            branch=1,
            overdraft_minor=overdraft_minor,
            asker=asker(key),
        )

    async def opened(self, *, overdraft_minor: int = 0) -> Account:
        change = await self.begin_opening(overdraft_minor=overdraft_minor)
        await self.changes.drive(change)
        return self.store.rows[change.account_id]


def account(**changed: Any) -> Account:
    """An open account that the ledger holds."""
    plain = Account.opening(
        id=new_id(),
        number="00010000000013",  # type: ignore[arg-type]
        branch=1,
        customer_id=UUID(int=7),
        product=CURRENT,
        overdraft_minor=None,
    ).told(1, at=NOON)
    return replace(plain, **changed)
