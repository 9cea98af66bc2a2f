"""What a service keeps, in memory, and the engine of its sagas."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.principal import Kind, Principal
from cbs.kernel.saga import Saga, SagaDefinition
from cbs.platform.context import now
from cbs.platform.declaration import declaration_of
from cbs.platform.idempotency import Key
from cbs.platform.memory.database import MemoryDatabase
from cbs.platform.memory.stores import MemoryKeys, MemoryOutbox, MemorySagas
from cbs.platform.outbox import fact_of
from cbs.platform.problem import answer_of
from cbs.platform.saga import Sagas, SagaStore

LEASE_SECONDS = 10.0


@dataclass
class MemoryService:
    database: MemoryDatabase = field(default_factory=lambda: MemoryDatabase(opened=True))

    def __post_init__(self) -> None:
        self.outbox = MemoryOutbox(
            service="accounts", publishes=declaration_of("accounts").facts, database=self.database
        )
        self.keys = MemoryKeys(database=self.database, outbox=self.outbox, refused=answer_of)
        self.store = MemorySagas(database=self.database, lease_seconds=LEASE_SECONDS)

    @property
    def answers(self) -> dict[tuple[str, str], Answer]:
        kept = self.keys.requests.items()
        return {name: each.answer for name, each in kept if each.answer is not None}

    @property
    def facts(self) -> list[str]:
        names = [fact_of(body).name for *_, body in self.outbox.facts.values()]
        return [name for name in names if name != "request-answered"]

    def saga(self, id: UUID) -> Saga[Any]:
        return self.store.sagas[id]

    def pass_time(self, seconds: float) -> None:
        leases = self.store.leases.data
        leases.update({id: until - timedelta(seconds=seconds) for id, until in leases.items()})

    async def begin(self, saga: Saga[Any]) -> None:
        """As the engine does it: in the transaction that claims the key."""
        who = saga.requester
        key = Key(principal=who.principal, key=who.key, fingerprint=b"", at=now())
        await self.keys.once(key, lambda: self.store.begin(saga))

    def engine(
        self, definitions: Mapping[str, SagaDefinition[Any]], store: SagaStore | None = None
    ) -> Sagas:
        return Sagas(
            database=self.database,
            store=store or self.store,
            keys=self.keys,
            outbox=self.outbox,
            principal=Principal(id="accounts", kind=Kind.SERVICE, permissions=frozenset()),
            refused=answer_of,
            definitions=definitions,
        )
