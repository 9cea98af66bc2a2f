"""Every fact of every service becomes a record; nothing of it is judged, nothing left out."""

from collections.abc import Sequence

from cbs.audit.application.log import AuditLog
from cbs.audit.domain.entry import Record
from cbs.platform.consumer import Handler
from cbs.platform.outbox import Fact


def handler_of(log: AuditLog) -> Handler:
    async def keep(facts: Sequence[Fact]) -> None:
        await log.keep(records=[_record(fact) for fact in facts])

    return keep


def _record(fact: Fact) -> Record:
    event = fact.event
    return Record(
        source=fact.source,
        position=fact.position,
        fact=fact.name,
        actor=event.actor,
        on_behalf_of=event.onbehalfof,
        subject=event.subject,
        at=event.time,
        correlation_id=event.correlationid,
        body=fact.body,
    )
