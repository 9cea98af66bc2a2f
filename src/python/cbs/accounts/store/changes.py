"""Changes in PostgreSQL. A step is taken by compare and set, so that a lease that ran out while
its holder was only slow does no harm."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cbs.accounts.application.changes import Advance
from cbs.accounts.domain.account import Account
from cbs.accounts.domain.change import Change, Step
from cbs.accounts.store.rows import account_of, change_of, values_of
from cbs.accounts.tables import AccountRow
from cbs.platform.database import Database
from cbs.platform.idempotency import KeyStore
from cbs.platform.outbox import Outbox

TAKE = """
    UPDATE change SET lease_until = clock_timestamp() + make_interval(secs => $3)
    WHERE principal = $1 AND key = $2 AND step <> 'done' AND lease_until < clock_timestamp()
    RETURNING *"""
TAKE_DUE = """
    UPDATE change SET lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id IN (
        SELECT id FROM change WHERE step <> 'done' AND lease_until < clock_timestamp()
        ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *"""
STEP = """
    UPDATE change SET step = $3, version = $4, refusal_status = $5, refusal_body = $6
    WHERE id = $1 AND step = $2 RETURNING true AS taken"""
DEFER = """
    UPDATE change SET lease_until = clock_timestamp() + make_interval(secs => $2),
        tries = tries + 1, error = $3
    WHERE id = $1"""
UNFINISHED = "SELECT count(*) FROM change WHERE step <> 'done'"
ERROR_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresChanges:
    database: Database
    outbox: Outbox
    requests: KeyStore
    now: Callable[[], datetime]

    async def account(self, account_id: UUID) -> Account:
        row = await AccountRow.select().where(AccountRow.id == account_id).first()
        assert row is not None, account_id
        return account_of(row)

    async def advance(self, change: Change, advance: Callable[[Account], Advance]) -> Change | None:
        async with self.database.transaction():
            [row] = (
                await AccountRow.select()
                .where(AccountRow.id == change.account_id)
                .lock_rows("UPDATE")
            )
            if not await self.database.fetch(
                "SELECT FROM change WHERE id = $1 AND step = $2", change.id, change.step
            ):
                return None
            taken = advance(account_of(row))
            await self._write(change, taken)
        return replace(change, step=taken.to, version=taken.version, refusal=taken.refusal)

    async def _write(self, change: Change, taken: Advance) -> None:
        no = taken.refusal
        [_] = await self.database.fetch(
            STEP,
            change.id,
            change.step.value,
            taken.to.value,
            taken.version,
            no and no.status,
            no and no.body,
        )
        await AccountRow.update(values_of(taken.account)).where(AccountRow.id == change.account_id)
        if taken.answer is not None:
            assert taken.to is Step.DONE, taken
            await self.requests.answer(
                principal=change.asker.principal,
                key=change.asker.key,
                answer=taken.answer,
                at=self.now(),
            )
        if taken.news is not None:
            await self.outbox.put(taken.news)

    async def take(self, *, principal: str, key: str, lease_seconds: float) -> Change | None:
        row = await self.database.fetchrow(TAKE, principal, key, lease_seconds)
        return change_of(row) if row else None

    async def take_due(self, *, limit: int, lease_seconds: float) -> list[Change]:
        rows: Any = await self.database.fetch(TAKE_DUE, limit, lease_seconds)
        return [change_of(row) for row in rows]

    async def defer(self, change: Change, *, seconds: float, error: str) -> None:
        await self.database.execute(DEFER, change.id, seconds, error[:ERROR_CHARACTERS_MAX])

    async def unfinished(self) -> int:
        return int((await self.database.fetchrow(UNFINISHED))["count"])
