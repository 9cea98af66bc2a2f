"""The list of payments in memory; tests/payments/test_store.py holds it to what PostgreSQL does."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cbs.payments.application.payments import Listed, Transfers
from cbs.payments.domain.transfer import Transfer
from cbs.platform.memory.database import MemoryDatabase, Table, memory_of
from cbs.platform.service import Runtime
from cbs.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTransfers:
    database: MemoryDatabase

    @property
    def listed(self) -> Table[UUID, Listed]:
        return self.database.table("transfer")

    async def add(self, heard: Sequence[Listed]) -> None:
        await self.database.call()
        for each in heard:
            self.listed.setdefault(each.transfer.id, each)

    async def find(self, id: UUID) -> Transfer | None:
        await self.database.call()
        found = self.listed.get(id)
        return found.transfer if found else None

    async def before(self, position: int, *, account: str | None, limit: int) -> list[Listed]:
        await self.database.call()
        found = [
            each
            for each in self.listed.values()
            if each.position < position
            and account in (None, each.transfer.remitter_account, each.transfer.beneficiary_account)
        ]
        return sorted(found, key=lambda each: -each.position)[:limit]


def in_memory(runtime: Runtime[Settings]) -> Transfers:
    return MemoryTransfers(database=memory_of(runtime.database))
