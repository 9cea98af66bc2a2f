"""What customers asks of accounts, as itself for whoever asked it."""

from dataclasses import dataclass

import msgspec

from cbs.customers.domain.standing import CustomerHasAccounts, StandingChange
from cbs.platform.bus import Bus
from cbs.platform.envelope import RemoteRefusal


class Held(msgspec.Struct):
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAccounts:
    bus: Bus

    async def set_standing(self, change: StandingChange) -> None:
        wanted = {
            "customer_id": change.customer_id,
            "version": change.version,
            "standing": change.status,
        }
        key = f"{change.customer_id}.{change.version}"
        try:
            held = await self.bus.call("accounts.set-standing", wanted, Held, key=key, own=True)
        except RemoteRefusal as refusal:
            if refusal.code == CustomerHasAccounts.code:
                raise CustomerHasAccounts from None
            raise
        assert held.version >= change.version, (held.version, change.version)
