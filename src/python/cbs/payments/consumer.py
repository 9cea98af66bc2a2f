"""The list of payments is what the ledger tells of them."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from cbs.payments.application.payments import Listed, Transfers
from cbs.payments.clients import Movement
from cbs.platform.consumer import Handler
from cbs.platform.outbox import Fact

POSTED_FACT = "transaction-posted"


class TransactionPosted(Movement, kw_only=True):
    transaction_id: UUID


_facts = msgspec.json.Decoder(TransactionPosted)


def handler_of(transfers: Transfers) -> Handler:
    """Lists the payments among the ledger's facts."""

    async def handle(facts: Sequence[Fact]) -> None:
        heard = []
        for fact in facts:
            if fact.name == POSTED_FACT:
                posted = _facts.decode(fact.event.data)
                transfer = posted.transfer(posted.transaction_id)
                if transfer is not None:
                    heard.append(Listed(position=fact.position, transfer=transfer))
        if heard:
            await transfers.add(heard)

    return handle
