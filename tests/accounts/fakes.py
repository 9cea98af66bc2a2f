"""The stores in memory, and a ledger of two ideas: versions, and a balance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from cbs.accounts.application.accounts import Accounts, Posting
from cbs.accounts.application.sagas import ChangeSteps, Standing
from cbs.accounts.domain.account import (
    Account,
    AccountNotEmpty,
    FloorAboveBalance,
    State,
)
from cbs.accounts.domain.change import Change
from cbs.accounts.domain.product import Product, ProductKind, ProductKnown
from cbs.accounts.http.shapes import answer_to_change
from cbs.kernel.event import Event
from cbs.kernel.money import Currency
from cbs.kernel.saga import Requester, Saga, SagaDefinition
from cbs.platform.context import new_id
from cbs.platform.saga import Sagas
from tests.platform.sagas import InMemorySagas, MemoryService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAVINGS = Product(
    code="SAVINGS-INR",
    name="Savings account",
    kind=ProductKind.SAVINGS,
    currency=Currency.INR,
    overdraft_min_minor=0,
    overdraft_max_minor=0,
    limit_per_transaction_minor=None,
    limit_per_day_minor=None,
    active=True,
)
CURRENT = replace(
    SAVINGS,
    code="CURRENT-INR",
    name="Current account",
    kind=ProductKind.CURRENT,
    overdraft_max_minor=1_000,
    limit_per_day_minor=500,
)
GOOD = Standing(verified=True, active=True)


def requester(key: str = "key-0001") -> Requester:
    return Requester(principal="asha", key=key)


@dataclass
class InMemoryProducts:
    kept: dict[str, Product] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)

    async def add(self, product: Product) -> None:
        if product.code in self.kept:
            raise ProductKnown
        self.kept[product.code] = product
        self.facts.append(product.to_event())

    async def get(self, code: str) -> Product | None:
        return self.kept.get(code)

    async def page(self, *, after: str, limit: int) -> list[Product]:
        return [self.kept[code] for code in sorted(self.kept) if code > after][:limit]


@dataclass
class InMemoryAccounts:
    rows: dict[UUID, Account] = field(default_factory=dict)
    serials: Iterator[int] = field(default_factory=lambda: count(1))

    async def next_serial(self) -> int:
        return next(self.serials)

    async def add(self, account: Account) -> None:
        self.rows[account.id] = account

    async def update(
        self, account_id: UUID, change: Callable[[Account], Account]
    ) -> Account | None:
        if account_id not in self.rows:
            return None
        self.rows[account_id] = change(self.rows[account_id])
        return self.rows[account_id]

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


@dataclass
class FakeBook:
    """As the ledger: terms of a version that is not newer change nothing."""

    held: dict[str, Account] = field(default_factory=dict)
    balance_minor: dict[str, int] = field(default_factory=dict)
    postings: list[Posting] = field(default_factory=list)

    async def open(self, account: Account) -> None:
        await self.change_terms(account)

    async def change_terms(self, account: Account) -> None:
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
    sagas_kept: InMemorySagas = field(default_factory=InMemorySagas)
    book: FakeBook = field(default_factory=FakeBook)
    customers: FakeCustomers = field(default_factory=FakeCustomers)
    service: MemoryService = field(default_factory=MemoryService)

    @property
    def definitions(self) -> dict[str, SagaDefinition[Change]]:
        return ChangeSteps(
            accounts=self.store,
            book=self.book,
            customers=self.customers,
            now=lambda: NOON,
            view=answer_to_change,
        ).definitions()

    @property
    def accounts(self) -> Accounts:
        products = InMemoryProducts(kept={each.code: each for each in (SAVINGS, CURRENT)})
        return Accounts(
            accounts=self.store,
            products=products,
            book=self.book,
            sagas=self.sagas_kept,
            definitions=self.definitions,
            new_id=new_id,
        )

    @property
    def sagas(self) -> Sagas:
        return self.service.sagas(self.sagas_kept, self.definitions)

    async def begin_opening(
        self, key: str = "open-0001", *, overdraft_minor: int = 0
    ) -> Saga[Change]:
        return await self.accounts.open(
            customer_id=UUID(int=7),
            product=CURRENT.code,
            branch=1,
            overdraft_minor=overdraft_minor,
            requester=requester(key),
        )

    async def opened(self, *, overdraft_minor: int = 0) -> Account:
        saga = await self.begin_opening(overdraft_minor=overdraft_minor)
        await self.sagas.drive(saga)
        return self.store.rows[saga.data.account_id]


def account(**changed: Any) -> Account:
    """An open account that the ledger holds."""
    plain = Account.opening(
        id=new_id(),
        number="00010000000013",  # type: ignore[arg-type]
        branch=1,
        customer_id=UUID(int=7),
        product=CURRENT,
        overdraft_minor=None,
    ).acknowledged_at(1, at=NOON)
    return replace(plain, **changed)
