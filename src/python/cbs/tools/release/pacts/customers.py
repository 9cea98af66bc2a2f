"""What customers reads of accounts: that they hold a customer to their standing, or why not."""

from uuid import UUID

from pact import match

from cbs.customers.clients import BusAccounts
from cbs.customers.domain.standing import CustomerHasAccounts, CustomerStatus, StandingChange
from cbs.platform.bus import Bus
from cbs.tools.release.pacts.bus_replies import is_refused, said
from cbs.tools.release.pacts.conversation import SOME_ID, Conversation, State


def conversations() -> list[Conversation]:
    accounts = Conversation("customers", "accounts")
    for status in CustomerStatus:

        async def set_standing(bus: Bus, status: CustomerStatus = status) -> None:
            await BusAccounts(bus=bus).set_standing(_change(UUID(SOME_ID), status))

        accounts.asks(
            f"hold the accounts of who is {status}", set_standing, data={"version": match.int(1)}
        )

    async def close(bus: Bus) -> None:
        change = _change(UUID(SOME_ID), CustomerStatus.CLOSED)
        await is_refused(CustomerHasAccounts.code, BusAccounts(bus=bus).set_standing(change))

    accounts.asks(
        "close a customer whose account is open",
        close,
        refused=said("conflict", CustomerHasAccounts.code),
        given=[State("a customer with an account", makes={"customer_id": SOME_ID})],
    )
    return [accounts]


def _change(customer_id: UUID, status: CustomerStatus) -> StandingChange:
    return StandingChange(customer_id=customer_id, version=1, status=status, reason="for a pact")
