"""What the platform keeps for every service, in memory."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from cbs.kernel.answer import Answer
from cbs.kernel.saga import DONE, Saga
from cbs.platform.context import now
from cbs.platform.idempotency import KeptRequest, Key, KeyedRequest, Keys, KeyState
from cbs.platform.inbox import DeadLetter
from cbs.platform.memory.database import Connection, MemoryDatabase, Table
from cbs.platform.outbox import FACTS_PAGE_MAX, Outbox, OutboxRow, RelayTurn, StoredFact
from cbs.platform.saga import LEASE_SECONDS

RELAY = "relay"


class MemoryOutbox(Outbox):
    def __init__(
        self, *, service: str, publishes: Collection[str], database: MemoryDatabase
    ) -> None:
        super().__init__(service=service, publishes=publishes)
        self.database = database

    @property
    def facts(self) -> Table[int, StoredFact]:
        return self.database.table("outbox")

    @property
    def positions(self) -> Table[str, int]:
        return self.database.table("positions", {"head": 0, "published": 0})

    async def next_positions(self, count: int) -> int:
        await self.database.call()
        self.positions["head"] += count
        return self.positions["head"]

    async def keep(self, rows: Sequence[OutboxRow]) -> None:
        await self.database.call()
        for position, _, subject, _, body in rows:
            assert position not in self.facts, position
            self.facts[position] = position, subject, body

    async def after(self, position: int, *, limit: int) -> list[StoredFact]:
        await self.database.call()
        return self.page(position, limit)

    async def head(self) -> int:
        await self.database.call()
        return self.positions["head"]

    async def waiting(self) -> int:
        await self.database.call()
        return self.positions["head"] - self.positions["published"]

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[RelayTurn | None]:
        async with self.database.connected() as connection:
            await connection.travel()
            has_it = connection.server.locks.setdefault(RELAY, connection) is connection
            yield MemoryTurn(outbox=self, connection=connection) if has_it else None

    def page(self, position: int, limit: int) -> list[StoredFact]:
        first, facts = position + 1, self.facts
        end = min(first + min(limit, FACTS_PAGE_MAX), self.positions["head"] + 1)
        return [facts[each] for each in range(first, end)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTurn:
    outbox: MemoryOutbox
    connection: Connection

    async def unpublished(self, *, limit: int) -> Sequence[StoredFact]:
        await self.connection.look()
        return self.outbox.page(self.outbox.positions["published"], limit)

    async def published(self, position: int) -> None:
        positions = self.outbox.positions
        async with self.connection.transaction():
            positions["published"] = max(position, positions["published"])


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInbox:
    database: MemoryDatabase

    @property
    def watermarks(self) -> Table[str, int]:
        return self.database.table("watermark")

    @property
    def dead_letters(self) -> Table[tuple[str, int], DeadLetter]:
        return self.database.table("dead_letter")

    async def begin(self, source: str) -> None:
        async with self.database.transaction():
            self.watermarks.setdefault(source, 0)

    async def heard(self, source: str) -> int:
        await self.database.call()
        return self.watermarks.get(source, 0)

    async def lock(self, source: str) -> int:
        await self.database.call()
        return self.watermarks[source]

    async def move(self, source: str, position: int) -> None:
        await self.database.call()
        self.watermarks[source] = position

    async def set_aside(self, letter: DeadLetter) -> None:
        await self.database.call()
        self.dead_letters.setdefault((letter.source, letter.position), letter)

    async def letters(self, *, after: tuple[str, int], limit: int) -> list[DeadLetter]:
        await self.database.call()
        places = sorted(place for place in self.dead_letters if place > after)
        return [self.dead_letters[place] for place in places[:limit]]

    async def letter(self, source: str, position: int) -> DeadLetter | None:
        await self.database.call()
        return self.dead_letters.get((source, position))

    async def replayed(self, source: str, position: int, at: datetime) -> None:
        await self.database.call()
        letter = self.dead_letters[source, position]
        self.dead_letters[source, position] = msgspec.structs.replace(letter, replayed_at=at)

    async def waiting(self) -> int:
        await self.database.call()
        return sum(letter.replayed_at is None for letter in self.dead_letters.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryKeys(Keys):
    database: MemoryDatabase

    @property
    def requests(self) -> Table[tuple[str, str], KeptRequest]:
        return self.database.table("request")

    async def claim(self, asked: Key) -> bool:
        await self.database.call()
        if (asked.principal, asked.key) in self.requests:
            return False
        request = KeyedRequest(key=asked.key, state=KeyState.UNDER_WAY, asked_at=asked.at)
        self.requests[asked.principal, asked.key] = KeptRequest(
            fingerprint=asked.fingerprint, request=request
        )
        return True

    async def kept(self, *, principal: str, key: str) -> KeptRequest | None:
        await self.database.call()
        return self.requests.get((principal, key))

    async def keep(
        self, *, principal: str, key: str, answer: Answer, at: datetime
    ) -> KeptRequest | None:
        await self.database.call()
        kept = self.requests.get((principal, key))
        if kept is None or kept.answer is not None:
            return None
        self.requests[principal, key] = answered(kept, answer, at)
        return self.requests[principal, key]


def answered(kept: KeptRequest, answer: Answer, at: datetime) -> KeptRequest:
    request = msgspec.structs.replace(
        kept.request,
        state=KeyState.ANSWERED,
        answered_at=at,
        status=answer.status,
        answer=msgspec.Raw(answer.body),
    )
    return KeptRequest(fingerprint=kept.fingerprint, request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySagas:
    database: MemoryDatabase
    lease_seconds: float = LEASE_SECONDS

    @property
    def sagas(self) -> Table[UUID, Saga[Any]]:
        return self.database.table("saga")

    @property
    def leases(self) -> Table[UUID, datetime]:
        """Until when somebody has the saga."""
        return self.database.table("lease")

    async def begin(self, saga: Saga[Any]) -> None:
        await self.database.call()
        requesters = [each.requester for each in self.sagas.values()]
        assert saga.requester not in requesters, saga
        self._lease(saga, self.lease_seconds)

    async def is_at(self, saga: Saga[Any]) -> bool:
        await self.database.call()
        return self.sagas[saga.id].step == saga.step

    async def move(self, saga: Saga[Any]) -> None:
        await self.database.call()
        self._lease(replace(saga, tries=0), self.lease_seconds)

    async def take(self, *, principal: str, key: str) -> Saga[Any] | None:
        async with self.database.transaction():
            for saga in self._free():
                if (saga.requester.principal, saga.requester.key) == (principal, key):
                    self._lease(saga, self.lease_seconds)
                    return saga
        return None

    async def take_due(self, *, limit: int) -> Sequence[Saga[Any]]:
        async with self.database.transaction():
            due = self._free()[:limit]
            for saga in due:
                self._lease(saga, self.lease_seconds)
        return due

    async def defer(self, saga: Saga[Any], *, seconds: float, error: str) -> None:
        async with self.database.transaction():
            known = self.sagas[saga.id]
            self._lease(replace(known, tries=known.tries + 1), seconds)

    async def unfinished(self) -> int:
        await self.database.call()
        return sum(saga.step != DONE for saga in self.sagas.values())

    def _free(self) -> list[Saga[Any]]:
        free = [s for s in self.sagas.values() if s.step != DONE and self.leases[s.id] < now()]
        return sorted(free, key=lambda saga: self.leases[saga.id])

    def _lease(self, saga: Saga[Any], seconds: float) -> None:
        self.sagas[saga.id], self.leases[saga.id] = saga, now() + timedelta(seconds=seconds)
