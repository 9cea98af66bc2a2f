"""Facts as a service publishes them, and records as the audit log keeps them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from cbs.audit.domain.entry import Record
from cbs.platform.outbox import CloudEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fact(
    source: str = "ledger",
    position: int = 1,
    *,
    actor: str = "teller-1",
    subject: str = "10010000000018",
    minutes: int = 0,
    note: str = "नमस्ते",
) -> bytes:
    event = CloudEvent(
        specversion="1.0",
        id=UUID(int=position),
        source=f"/cbs/{source}",
        type=f"cbs.{source}.something-happened",
        subject=subject,
        time=NOON + timedelta(minutes=minutes),
        datacontenttype="application/json",
        actor=actor,
        correlationid=f"c-{position}",
        position=str(position),
        data=msgspec.Raw(msgspec.json.encode({"note": note})),
    )
    return msgspec.json.encode(event)


def record(
    source: str = "ledger",
    position: int = 1,
    *,
    actor: str = "teller-1",
    subject: str = "10010000000018",
    minutes: int = 0,
    note: str = "नमस्ते",
) -> Record:
    return Record(
        source=source,
        position=position,
        fact="something-happened",
        actor=actor,
        on_behalf_of="",
        subject=subject,
        at=NOON + timedelta(minutes=minutes),
        correlation_id=f"c-{position}",
        body=fact(source, position, actor=actor, subject=subject, minutes=minutes, note=note),
    )
