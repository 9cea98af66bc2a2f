"""What audit reads of everybody: the envelope of every fact, and nothing of what is in it."""

from cbs.audit.application.log import AuditLog
from cbs.audit.consumer import handler_of
from cbs.platform.context import now
from cbs.platform.outbox import fact_of
from cbs.tools.release.pacts.bus_replies import hears_by_request
from cbs.tools.release.pacts.conversation import Conversation, State

HEARD = {
    "customers": (
        *("customer-registered", "customer-amended", "customer-suspended", "customer-reinstated"),
        *("customer-closed", "document-added", "document-verified", "document-rejected"),
        *("kyc-status-changed", "risk-rated", "permission-refused"),
    ),
    "accounts": (
        *("account-opened", "account-opening-refused", "account-frozen", "account-unfrozen"),
        *("account-closed", "limits-changed", "product-added", "permission-refused"),
    ),
    "ledger": ("account-set", "transaction-posted", "permission-refused"),
    "payments": ("permission-refused",),
}


def conversations() -> list[Conversation]:
    made = []
    for source, facts in HEARD.items():
        conversation = Conversation("audit", source)
        for fact in facts:
            conversation.hears(fact, _kept, data={}, reads=None, given=[State(f"{fact} happened")])
        hears_by_request(conversation)
        made.append(conversation)
    return made


class _Kept:
    def __init__(self) -> None:
        self.records: list[object] = []

    async def append(self, records: list[object], *, at: object) -> None:
        self.records += records


async def _kept(body: bytes) -> None:
    kept = _Kept()
    log = AuditLog(store=kept, now=now)  # type: ignore[arg-type]
    await handler_of(log)([fact_of(body)])
    assert len(kept.records) == 1
