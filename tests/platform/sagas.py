"""Sagas in memory, and what else of a service drives them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.principal import Kind, Principal
from cbs.kernel.saga import DONE, Saga, SagaDefinition
from cbs.platform.problem import answer_of
from cbs.platform.saga import Sagas, SagaStore


@dataclass
class InMemorySagas:
    """Keeps the promises of SagaStore; `clock` is in seconds, and stands still by itself."""

    clock: float = 0.0
    lease_seconds: float = 10.0
    rows: dict[UUID, Saga[Any]] = field(default_factory=dict)
    leases: dict[UUID, float] = field(default_factory=dict)

    async def begin(self, saga: Saga[Any]) -> None:
        await self.move(saga)

    async def is_at(self, saga: Saga[Any]) -> bool:
        return self.rows[saga.id].step == saga.step

    async def move(self, saga: Saga[Any]) -> None:
        self.rows[saga.id] = saga
        self.leases[saga.id] = self.clock + self.lease_seconds

    async def take(self, *, principal: str, key: str) -> Saga[Any] | None:
        for saga in self._free():
            if (saga.requester.principal, saga.requester.key) == (principal, key):
                self.leases[saga.id] = self.clock + self.lease_seconds
                return saga
        return None

    async def take_due(self, *, limit: int) -> Sequence[Saga[Any]]:
        due = self._free()[:limit]
        self.leases.update({saga.id: self.clock + self.lease_seconds for saga in due})
        return due

    def _free(self) -> list[Saga[Any]]:
        free = [s for s in self.rows.values() if s.step != DONE and self.leases[s.id] < self.clock]
        return sorted(free, key=lambda saga: self.leases[saga.id])

    async def defer(self, saga: Saga[Any], *, seconds: float, error: str) -> None:
        known = self.rows[saga.id]
        self.rows[saga.id] = replace(known, tries=known.tries + 1)
        self.leases[saga.id] = self.clock + seconds

    async def unfinished(self) -> int:
        return sum(saga.step != DONE for saga in self.rows.values())


@dataclass
class MemoryService:
    """Database, keys and outbox of a service that never fails: nothing is ever undone."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        self.answers[principal, key] = answer

    async def put(self, *events: Event) -> None:
        self.facts += events

    def sagas(self, store: SagaStore, definitions: Mapping[str, SagaDefinition[Any]]) -> Sagas:
        here: Any = self
        return Sagas(
            database=here,
            store=store,
            keys=here,
            outbox=here,
            principal=Principal(id="accounts", kind=Kind.SERVICE, permissions=frozenset()),
            refused=answer_of,
            definitions=definitions,
        )
