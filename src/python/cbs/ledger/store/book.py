from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Posting
from cbs.ledger.domain.account import Account, AccountKind, NoSuchAccount, Terms
from cbs.ledger.domain.days import EVER, Days
from cbs.ledger.domain.transaction import Order, Transaction
from cbs.ledger.store.rows import account_of, posting_of, terms_of, transaction_of
from cbs.ledger.store.write_path import WritePath
from cbs.ledger.tables import AccountRow, PostingRow, TransactionRow
from cbs.platform.database import Database
from cbs.platform.outbox import Outbox

HISTORY = """
    SELECT seq, transaction_id, kind, amount_minor, balance_after_minor, posting.currency,
        posting.booked_on, posting.value_on, booked_at, narrative
    FROM posting JOIN transaction ON transaction.id = transaction_id
    WHERE account = $1 AND seq < $2
        AND CASE WHEN $6 THEN posting.value_on ELSE posting.booked_on END
            BETWEEN coalesce($4, date '-infinity') AND coalesce($5, date 'infinity')
    ORDER BY seq DESC LIMIT $3"""
BALANCE_ON = """
    SELECT coalesce(sum(amount_minor), 0)::bigint AS balance_minor
    FROM posting WHERE account = $1 AND value_on <= $2"""
# Two who open one account at once: the second waits here, and then finds it.
NAMED = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBook:
    database: Database
    outbox: Outbox
    writes: WritePath

    async def post(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        return await self.writes.post(orders)

    async def answers(self, orders: Sequence[Order]) -> list[Answer | Refusal | None]:
        return await self.writes.answers(orders)

    async def open_account(
        self, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> Account:
        await self.database.connection.execute(NAMED, number)
        if (known := await self._locked(number)) is not None:
            known.check_same(kind=kind, currency=currency, terms=terms)
            return known
        account, event = Account.open(number=number, kind=kind, currency=currency, terms=terms)
        values: dict[Any, Any] = {"number": number, "kind": kind, "currency": currency}
        values |= terms_of(account)
        places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        # Not the whole row: this role may not write a balance, not even nothing.
        await self.database.execute(
            f"INSERT INTO account ({', '.join(values)}) VALUES ({places})", *values.values()
        )
        await self.outbox.put(event)
        return account

    async def change_terms(self, *, number: str, terms: Terms) -> Account:
        known = await self._locked(number)
        if known is None:
            raise NoSuchAccount(number)
        if (changed := known.change_terms(terms)) is None:
            return known
        account, event = changed
        await AccountRow.update(terms_of(account)).where(AccountRow.number == number)
        await self.outbox.put(event)
        return account

    async def _locked(self, number: str) -> Account | None:
        assert self.database.in_transaction, "the caller commits"
        rows = await AccountRow.select().where(AccountRow.number == number).lock_rows("UPDATE")
        return account_of(rows[0]) if rows else None

    async def accounts(self, numbers: Sequence[str]) -> list[Account]:
        rows = await AccountRow.select().where(AccountRow.number.is_in(list(numbers)))
        return [account_of(row) for row in rows]

    async def accounts_after(self, number: str, *, limit: int) -> list[Account]:
        rows = await (
            AccountRow.select()
            .where(AccountRow.number > number)
            .order_by(AccountRow.number)
            .limit(limit)
        )
        return [account_of(row) for row in rows]

    async def balance_on(self, number: str, value_on: date) -> int:
        row = await self.database.fetchrow(BALANCE_ON, number, value_on)
        return int(row["balance_minor"])

    async def history(
        self, number: str, *, before: int, limit: int, of: Days = EVER
    ) -> list[Posting]:
        days = (of.since, of.until, of.by_value)
        rows = await self.database.fetch(HISTORY, number, before, limit, *days)
        return [posting_of(row) for row in rows]

    async def transaction(self, id: UUID) -> Transaction | None:
        rows = await TransactionRow.select().where(TransactionRow.id == id)
        if not rows:
            return None
        legs = await (
            PostingRow.select().where(PostingRow.transaction_id == id).order_by(PostingRow.leg)
        )
        return transaction_of(rows[0], legs)
