from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
from piccolo.columns.combination import Where

from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.freeze import Freeze
from cbs.accounts.domain.holder import AccountHolder, HolderStanding
from cbs.accounts.domain.product import Product, ProductKnown
from cbs.accounts.store.rows import account_of, freeze_of, product_of, values_of
from cbs.accounts.tables import AccountRow, FreezeRow, ProductRow
from cbs.platform.database import Database
from cbs.platform.outbox import Outbox

# One that an older release placed is first kept when it is lifted.
KEEP_FREEZE = """
    INSERT INTO account_freeze (id, account_id, scope, cause, reason, authority, until, placed_by,
        placed_at, lifted_by, lifted_at, lifted_because)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO UPDATE SET lifted_by = excluded.lifted_by,
        lifted_at = excluded.lifted_at, lifted_because = excluded.lifted_because"""
# Whichever is newest stays; the row is locked also where nothing changes.
KEEP_HOLDER = """
    INSERT INTO holder AS known (customer_id, version, standing) VALUES ($1, $2, $3)
    ON CONFLICT (customer_id) DO UPDATE SET
        standing = CASE WHEN excluded.version > known.version
            THEN excluded.standing ELSE known.standing END,
        version = greatest(excluded.version, known.version)
    RETURNING version, standing"""
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
        (known,) = await self._whole(rows)
        account = change(known)
        await self._keep_freezes(account, known=known.freezes)
        await AccountRow.update(values_of(account)).where(AccountRow.id == account_id)
        return account

    async def get(self, account_id: UUID) -> Account | None:
        return await self._one(AccountRow.id == account_id)

    async def by_number(self, number: str) -> Account | None:
        return await self._one(AccountRow.number == number)

    async def page(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        return await self._page(customer_id, after, limit, without=[State.REFUSED])

    async def unended(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        ended = [State.REFUSED, State.CLOSED]
        return await self._page(customer_id, after, limit, without=ended)

    async def lapsed(self, *, today: date, limit: int) -> list[tuple[UUID, UUID]]:
        rows = await (
            FreezeRow.select(FreezeRow.account_id, FreezeRow.id)
            .where(FreezeRow.lifted_at.is_null(), FreezeRow.until < today)
            .order_by(FreezeRow.until, FreezeRow.id)
            .limit(limit)
        )
        return [(row["account_id"], row["id"]) for row in rows]

    async def keep_holder(self, holder: AccountHolder) -> AccountHolder:
        assert self.database.in_transaction, "the lock is the caller's"
        row = await self.database.fetchrow(
            KEEP_HOLDER, holder.customer_id, holder.version, holder.standing.value
        )
        standing = HolderStanding(row["standing"])
        return replace(holder, version=row["version"], standing=standing)

    async def _page(
        self, customer_id: UUID, after: UUID, limit: int, *, without: Sequence[State]
    ) -> list[Account]:
        rows = await (
            AccountRow.select()
            .where(
                AccountRow.customer_id == customer_id,
                AccountRow.id > after,
                AccountRow.state.not_in([each.value for each in without]),
            )
            .order_by(AccountRow.id)
            .limit(limit)
        )
        return await self._whole(rows)

    async def _one(self, where: Where) -> Account | None:
        row = await AccountRow.select().where(where).first()
        return (await self._whole([row]))[0] if row else None

    async def _whole(self, rows: Sequence[Any]) -> list[Account]:
        freezes: dict[UUID, list[Freeze]] = defaultdict(list)
        if frozen := [row["id"] for row in rows if row["frozen"]]:
            found = await (
                FreezeRow.select()
                .where(FreezeRow.account_id.is_in(frozen), FreezeRow.lifted_at.is_null())
                .order_by(FreezeRow.placed_at, FreezeRow.id)
            )
            for row in found:
                freezes[row["account_id"]].append(freeze_of(row))
        return [account_of(row, freezes[row["id"]]) for row in rows]

    async def _keep_freezes(self, account: Account, *, known: Sequence[Freeze]) -> None:
        for freeze in set(account.freezes) - set(known):
            await self.database.execute(
                KEEP_FREEZE,
                freeze.id,
                account.id,
                freeze.scope.value,
                freeze.cause.value,
                freeze.reason,
                freeze.authority,
                freeze.until,
                freeze.placed_by,
                freeze.placed_at,
                freeze.lifted_by,
                freeze.lifted_at,
                freeze.lifted_because,
            )
