"""Sagas in the service's own PostgreSQL, whose clock alone says when a lease is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cbs.kernel.answer import Answer
from cbs.kernel.saga import Requester, Saga, SagaDefinition
from cbs.platform.database import Database
from cbs.platform.saga import LEASE_SECONDS

BEGIN = """
    INSERT INTO saga (id, kind, step, data, principal, key, on_behalf_of, correlation_id,
        begun_at, lease_until)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(),
        clock_timestamp() + make_interval(secs => $9))"""
IS_AT = "SELECT true FROM saga WHERE id = $1 AND step = $2 FOR UPDATE"
MOVE = """
    UPDATE saga SET step = $2, data = $3, refusal_code = $4, refusal_status = $5,
        refusal_body = $6, tries = 0, error = '',
        lease_until = clock_timestamp() + make_interval(secs => $7)
    WHERE id = $1"""
TAKE = """
    UPDATE saga SET lease_until = clock_timestamp() + make_interval(secs => $3)
    WHERE principal = $1 AND key = $2 AND step <> 'done' AND lease_until < clock_timestamp()
    RETURNING *"""
TAKE_DUE = """
    UPDATE saga SET lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id IN (
        SELECT id FROM saga WHERE step <> 'done' AND lease_until < clock_timestamp()
        ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *"""
DEFER = """
    UPDATE saga SET lease_until = clock_timestamp() + make_interval(secs => $2),
        tries = tries + 1, error = $3
    WHERE id = $1"""
UNFINISHED = "SELECT count(*) FROM saga WHERE step <> 'done'"
ERROR_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSagas:
    """SagaStore, on the table that `migrations.saga_table` makes."""

    database: Database
    definitions: Mapping[str, SagaDefinition[Any]]
    lease_seconds: float = LEASE_SECONDS

    async def begin(self, saga: Saga[Any]) -> None:
        who = saga.requester
        await self.database.connection.execute(
            BEGIN,
            saga.id,
            saga.kind,
            saga.step,
            _json(saga.data),
            who.principal,
            who.key,
            who.on_behalf_of,
            who.correlation_id,
            self.lease_seconds,
        )

    async def is_at(self, saga: Saga[Any]) -> bool:
        return bool(await self.database.connection.fetchval(IS_AT, saga.id, saga.step))

    async def move(self, saga: Saga[Any]) -> None:
        no = saga.refusal
        await self.database.connection.execute(
            MOVE,
            saga.id,
            saga.step,
            _json(saga.data),
            saga.refusal_code,
            no and no.status,
            no and no.body,
            self.lease_seconds,
        )

    async def take(self, *, principal: str, key: str) -> Saga[Any] | None:
        row = await self.database.fetchrow(TAKE, principal, key, self.lease_seconds)
        return self._saga(row) if row else None

    async def take_due(self, *, limit: int) -> Sequence[Saga[Any]]:
        rows = await self.database.fetch(TAKE_DUE, limit, self.lease_seconds)
        return [self._saga(row) for row in rows]

    async def defer(self, saga: Saga[Any], *, seconds: float, error: str) -> None:
        await self.database.execute(DEFER, saga.id, seconds, error[:ERROR_CHARACTERS_MAX])

    async def unfinished(self) -> int:
        return int((await self.database.fetchrow(UNFINISHED))["count"])

    def _saga(self, row: Any) -> Saga[Any]:
        refusal = None
        if row["refusal_body"] is not None:
            refusal = Answer(status=row["refusal_status"], body=row["refusal_body"])
        return Saga(
            id=row["id"],
            kind=row["kind"],
            step=row["step"],
            data=msgspec.json.decode(row["data"], type=self.definitions[row["kind"]].data),
            requester=Requester(
                principal=row["principal"],
                key=row["key"],
                on_behalf_of=row["on_behalf_of"],
                correlation_id=row["correlation_id"],
            ),
            refusal=refusal,
            refusal_code=row["refusal_code"],
            tries=row["tries"],
        )


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()
