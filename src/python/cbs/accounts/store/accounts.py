from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import asyncpg

from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.product import Product, ProductKnown
from cbs.accounts.store.rows import account_of, product_of, values_of
from cbs.accounts.tables import AccountRow, ProductRow
from cbs.platform.database import Database
from cbs.platform.outbox import Outbox

SERIAL = "SELECT nextval('account_serial') AS serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresProducts:
    database: Database
    outbox: Outbox

    async def add(self, product: Product) -> None:
        try:
            await ProductRow.insert(ProductRow(**asdict(product)))
        except asyncpg.UniqueViolationError:
            raise ProductKnown from None
        await self.outbox.put(product.to_event())

    async def get(self, code: str) -> Product | None:
        row = await ProductRow.select().where(ProductRow.code == code).first()
        return product_of(row) if row else None

    async def page(self, *, after: str, limit: int) -> list[Product]:
        rows = await (
            ProductRow.select()
            .where(ProductRow.code > after)
            .order_by(ProductRow.code)
            .limit(limit)
        )
        return [product_of(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAccounts:
    database: Database

    async def next_serial(self) -> int:
        return int((await self.database.fetchrow(SERIAL))["serial"])

    async def add(self, account: Account) -> None:
        fixed: dict[Any, Any] = {
            "id": account.id,
            "number": account.number,
            "branch": account.branch,
            "customer_id": account.customer_id,
            "product": account.product,
            "currency": account.currency.value,
        }
        await AccountRow.insert(AccountRow(**fixed, **values_of(account)))

    async def update(
        self, account_id: UUID, change: Callable[[Account], Account]
    ) -> Account | None:
        assert self.database.in_transaction, "the caller commits"
        rows = await AccountRow.select().where(AccountRow.id == account_id).lock_rows("UPDATE")
        if not rows:
            return None
        account = change(account_of(rows[0]))
        await AccountRow.update(values_of(account)).where(AccountRow.id == account_id)
        return account

    async def get(self, account_id: UUID) -> Account | None:
        row = await AccountRow.select().where(AccountRow.id == account_id).first()
        return account_of(row) if row else None

    async def by_number(self, number: str) -> Account | None:
        row = await AccountRow.select().where(AccountRow.number == number).first()
        return account_of(row) if row else None

    async def page(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        rows = await (
            AccountRow.select()
            .where(
                AccountRow.customer_id == customer_id,
                AccountRow.id > after,
                AccountRow.state != State.REFUSED.value,
            )
            .order_by(AccountRow.id)
            .limit(limit)
        )
        return [account_of(row) for row in rows]
