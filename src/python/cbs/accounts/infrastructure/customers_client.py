from dataclasses import dataclass
from uuid import UUID

import msgspec

from cbs.accounts.application.changes import Standing
from cbs.platform.bus import Bus


class CustomerStanding(msgspec.Struct):
    """What this service reads of a customer's standing."""

    status: str
    kyc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusCustomers:
    bus: Bus

    async def standing(self, customer_id: UUID) -> Standing:
        found = await self.bus.call(
            "customers.standing", {"customer_id": customer_id}, CustomerStanding, own=True
        )
        return Standing(verified=found.kyc == "verified", active=found.status == "active")
