"""Accounts in memory; tests/accounts/test_store.py holds them to what PostgreSQL does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.holder import AccountHolder
from cbs.accounts.domain.product import Product, ProductKind, ProductKnown
from cbs.accounts.main import Stores
from cbs.kernel.money import Currency
from cbs.platform.memory.database import MemoryDatabase, Table, memory_of
from cbs.platform.memory.stores import MemorySagas
from cbs.platform.outbox import Outbox
from cbs.platform.service import Runtime
from cbs.platform.settings import Settings

LAKH_MINOR = 100_000_00
FIRST_PRODUCTS = {
    code: Product(
        code=code,
        name=f"{kind.capitalize()} account",
        kind=kind,
        currency=Currency.INR,
        overdraft_min_minor=0,
        overdraft_max_minor=overdraft_max_minor,
        limit_per_transaction_minor=per_transaction_minor,
        limit_per_day_minor=per_day_minor,
        active=True,
    )
    for code, kind, overdraft_max_minor, per_transaction_minor, per_day_minor in (
        ("SAVINGS-INR", ProductKind.SAVINGS, 0, 2 * LAKH_MINOR, 5 * LAKH_MINOR),
        ("CURRENT-INR", ProductKind.CURRENT, 5 * LAKH_MINOR, 20 * LAKH_MINOR, 50 * LAKH_MINOR),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProducts:
    database: MemoryDatabase
    outbox: Outbox

    @property
    def products(self) -> Table[str, Product]:
        return self.database.table("product", FIRST_PRODUCTS)

    async def add(self, product: Product) -> None:
        await self.database.call()
        if product.code in self.products:
            raise ProductKnown
        self.products[product.code] = product
        await self.outbox.put(product.to_event())

    async def get(self, code: str) -> Product | None:
        await self.database.call()
        return self.products.get(code)

    async def page(self, *, after: str, limit: int) -> list[Product]:
        await self.database.call()
        return [self.products[code] for code in sorted(self.products) if code > after][:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAccounts:
    database: MemoryDatabase

    @property
    def accounts(self) -> Table[UUID, Account]:
        return self.database.table("account")

    @property
    def holders(self) -> Table[UUID, AccountHolder]:
        return self.database.table("holder")

    async def next_serial(self) -> int:
        await self.database.call()
        return self.database.server.next_serial("account")

    async def add(self, account: Account) -> None:
        await self.database.call()
        assert account.id not in self.accounts, account
        assert all(each.number != account.number for each in self.accounts.values()), account
        self.accounts[account.id] = account

    async def update(
        self, account_id: UUID, change: Callable[[Account], Account]
    ) -> Account | None:
        await self.database.call()
        known = self.accounts.get(account_id)
        if known is None:
            return None
        changed = change(known)
        holding = tuple(each for each in changed.freezes if each.holds)
        self.accounts[account_id] = replace(changed, freezes=holding)
        return changed

    async def get(self, account_id: UUID) -> Account | None:
        await self.database.call()
        return self.accounts.get(account_id)

    async def by_number(self, number: str) -> Account | None:
        await self.database.call()
        return next((each for each in self.accounts.values() if each.number == number), None)

    async def page(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        return await self._page(customer_id, after, limit, without=[State.REFUSED])

    async def unended(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        ended = [State.REFUSED, State.CLOSED]
        return await self._page(customer_id, after, limit, without=ended)

    async def lapsed(self, *, today: date, limit: int) -> list[tuple[UUID, UUID]]:
        await self.database.call()
        found = [
            (freeze.until, account.id, freeze.id)
            for account in self.accounts.values()
            for freeze in account.freezes
            if freeze.until is not None and freeze.until < today
        ]
        return [(account_id, freeze_id) for _, account_id, freeze_id in sorted(found)[:limit]]

    async def keep_holder(self, holder: AccountHolder) -> AccountHolder:
        await self.database.call()
        known = self.holders.get(holder.customer_id)
        if known is None or known.version < holder.version:
            self.holders[holder.customer_id] = holder
        return self.holders[holder.customer_id]

    async def _page(
        self, customer_id: UUID, after: UUID, limit: int, *, without: Sequence[State]
    ) -> list[Account]:
        await self.database.call()
        found = [
            each
            for each in self.accounts.values()
            if each.customer_id == customer_id and each.id > after and each.state not in without
        ]
        return sorted(found, key=lambda each: each.id)[:limit]


def in_memory(runtime: Runtime[Settings]) -> Stores:
    database = memory_of(runtime.database)
    return Stores(
        accounts=MemoryAccounts(database=database),
        products=MemoryProducts(database=database, outbox=runtime.outbox),
        sagas=lambda definitions: MemorySagas(database=database),
        adopting=lambda sagas: {},
    )
