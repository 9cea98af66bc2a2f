from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cbs.payments.application.payments import Listed
from cbs.payments.domain.transfer import Transfer


@dataclass
class InMemoryTransfers:
    listed: dict[UUID, Listed] = field(default_factory=dict)

    async def add(self, heard: Sequence[Listed]) -> None:
        for each in heard:
            self.listed.setdefault(each.transfer.id, each)

    async def find(self, id: UUID) -> Transfer | None:
        found = self.listed.get(id)
        return found.transfer if found else None

    async def before(self, position: int, *, account: str | None, limit: int) -> list[Listed]:
        newest = sorted(self.listed.values(), key=lambda each: -each.position)
        return [
            each
            for each in newest
            if each.position < position
            and account in (None, each.transfer.remitter_account, each.transfer.beneficiary_account)
        ][:limit]
