"""What other services may ask of accounts on the bus."""

from typing import Annotated
from uuid import UUID

import msgspec

from cbs.accounts.application.standing import Standings
from cbs.accounts.domain.holder import AccountHolder, CustomerHasAccounts, HolderStanding
from cbs.platform.bus import Endpoint
from cbs.platform.declaration import INTERNAL


class SetStanding(msgspec.Struct, kw_only=True):
    """`version` grows with each change of the customer's standing."""

    customer_id: UUID
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    standing: HolderStanding


class StandingHeld(msgspec.Struct, kw_only=True):
    """The newest version that accounts goes by."""

    version: int


def endpoints(standings: Standings) -> list[Endpoint[SetStanding]]:
    async def set_standing(asked: SetStanding, _key: str) -> StandingHeld:
        newest = await standings.set(
            AccountHolder(
                customer_id=asked.customer_id, version=asked.version, standing=asked.standing
            )
        )
        return StandingHeld(version=newest.version)

    return [
        Endpoint(
            verb="set-standing",
            takes=SetStanding,
            gives=StandingHeld,
            handle=set_standing,
            permission=INTERNAL,
            refuses=(CustomerHasAccounts,),
            doc="Hold a customer's accounts to their standing; older versions change nothing",
        )
    ]
