"""What audit reads of everybody: the envelope of every fact, and nothing of what is in it."""

from cbs.audit.application.log import AuditLog
from cbs.audit.consumer import handler_of
from cbs.bank import SERVICES
from cbs.platform.context import now
from cbs.platform.declaration import OF_EVERY_SERVICE, declaration_of
from cbs.platform.outbox import fact_of
from cbs.tools.release.pacts.bus_replies import hears_by_request
from cbs.tools.release.pacts.conversation import Conversation, State


def conversations() -> list[Conversation]:
    made = []
    for source in SERVICES:
        if source == "audit":
            continue
        conversation = Conversation("audit", source)
        for fact in (*declaration_of(source).publishes, *OF_EVERY_SERVICE.publishes):
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
