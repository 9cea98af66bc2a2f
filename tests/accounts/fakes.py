"""Accounts in memory, with a ledger of two ideas: versions, and a balance."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.book import Period, Posting
from cbs.accounts.application.sagas import ChangeSteps, Standing
from cbs.accounts.domain.account import (
    Account,
    AccountNotEmpty,
    FloorAboveBalance,
    State,
)
from cbs.accounts.domain.change import Change
from cbs.accounts.domain.freeze import Freeze, Scope
from cbs.accounts.domain.product import Product, ProductKind
from cbs.accounts.http.shapes import answer_to_change
from cbs.accounts.memory import MemoryAccounts, MemoryProducts
from cbs.kernel.money import Currency
from cbs.kernel.saga import Requester, Saga, SagaDefinition
from cbs.platform.context import new_id
from cbs.platform.idempotency import Key
from cbs.platform.memory.stores import MemorySagas
from cbs.platform.problem import refusal_of
from cbs.platform.saga import Sagas
from tests.platform.sagas import MemoryService

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


def a_freeze(scope: Scope = Scope.ALL, **changed: Any) -> Freeze:
    return Freeze(
        **{
            "id": new_id(),
            "scope": scope,
            "reason": "court order 7/2026",
            "placed_by": "asha",
            "placed_at": NOON,
            **changed,
        }
    )


def lifted(account: Account, freeze_id: UUID | None = None) -> Account:
    """With one freeze less, as it is read again."""
    left = account.unfreeze(freeze_id, because="paid", by="usha", at=NOON)
    return replace(left, freezes=tuple(each for each in left.freezes if each.holds))


def requester(key: str = "key-0001") -> Requester:
    return Requester(principal="asha", key=key)


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

    async def history(
        self, number: str, *, before: int | None, limit: int, period: Period
    ) -> list[Posting]:
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

    service: MemoryService = field(default_factory=MemoryService)
    book: FakeBook = field(default_factory=FakeBook)
    customers: FakeCustomers = field(default_factory=FakeCustomers)
    store: MemorySagas | None = None

    @property
    def kept(self) -> MemoryAccounts:
        return MemoryAccounts(database=self.service.database)

    @property
    def definitions(self) -> dict[str, SagaDefinition[Change]]:
        return ChangeSteps(
            accounts=self.kept,
            book=self.book,
            customers=self.customers,
            now=lambda: NOON,
            view=answer_to_change,
        ).definitions()

    @property
    def accounts(self) -> Accounts:
        database, outbox = self.service.database, self.service.outbox
        return Accounts(
            accounts=self.kept,
            products=MemoryProducts(database=database, outbox=outbox),
            book=self.book,
            sagas=self.service.store,
            definitions=self.definitions,
            new_id=new_id,
            now=lambda: NOON,
        )

    @property
    def sagas(self) -> Sagas:
        return self.service.engine(self.definitions, self.store)

    def account(self, saga: Saga[Change]) -> Account:
        return self.kept.accounts[saga.data.account_id]

    async def begin(
        self, key: str, begin: Callable[[Requester], Awaitable[Saga[Change]]]
    ) -> Saga[Change]:
        """In the transaction that claims the key; raises what is refused."""
        begun: list[Saga[Change]] = []

        async def effect() -> None:
            begun.append(await begin(requester(key)))

        asked = Key(principal="asha", key=key, fingerprint=b"", at=NOON)
        answer = await self.service.keys.once(asked, effect)
        if answer is not None:
            raise refusal_of(answer)
        return begun[0]

    async def begin_opening(
        self, key: str = "open-0001", *, overdraft_minor: int = 0
    ) -> Saga[Change]:
        return await self.begin(
            key,
            lambda who: self.accounts.open(
                customer_id=UUID(int=7),
                product="CURRENT-INR",
                branch=1,
                overdraft_minor=overdraft_minor,
                requester=who,
            ),
        )

    async def opened(self, *, overdraft_minor: int = 0) -> Account:
        saga = await self.begin_opening(overdraft_minor=overdraft_minor)
        await self.sagas.drive(saga)
        return self.account(saga)


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
