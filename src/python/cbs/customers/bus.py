"""What other services may ask of customers on the bus."""

from uuid import UUID

import msgspec

from cbs.customers.application.customers import Customers
from cbs.customers.domain.customer import NoSuchCustomer
from cbs.customers.domain.kyc import Kyc, Risk
from cbs.customers.domain.standing import CustomerStatus
from cbs.platform.bus import Endpoint
from cbs.platform.declaration import INTERNAL


class StandingAsked(msgspec.Struct, kw_only=True):
    customer_id: UUID


class Standing(msgspec.Struct, kw_only=True):
    """`kyc` is what is true today, even if no fact has told it yet."""

    customer_id: UUID
    status: CustomerStatus
    kyc: Kyc
    risk: Risk
    name: str


def endpoints(customers: Customers) -> list[Endpoint[StandingAsked]]:
    async def standing(asked: StandingAsked, _key: str) -> Standing:
        customer = await customers.get(asked.customer_id)
        return Standing(
            customer_id=customer.id,
            status=customer.status,
            kyc=customer.kyc_on(customers.today),
            risk=customer.rating.risk,
            name=customer.person.name,
        )

    return [
        Endpoint(
            verb="standing",
            takes=StandingAsked,
            gives=Standing,
            handle=standing,
            permission=INTERNAL,
            refuses=(NoSuchCustomer,),
            doc="Whether the bank may do business with this customer today",
        )
    ]
