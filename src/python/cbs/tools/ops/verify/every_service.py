"""What must be true of every service: its outbox, its inbox, and the keys of its requests."""

from collections.abc import AsyncIterator

import msgspec

from cbs.platform.invariants import Check, Row, SnapshotReader, query
from cbs.platform.outbox import fact_of

UNDER_WAY_MINUTES_MAX = 10

GAPS = """
    SELECT position, due_position FROM (
        SELECT position, row_number() OVER (ORDER BY position) AS due_position FROM outbox
    ) AS line WHERE position <> due_position
    UNION ALL
    SELECT last.position, head.position
    FROM outbox_head AS head, (SELECT coalesce(max(position), 0) AS position FROM outbox) AS last
    WHERE last.position <> head.position"""
FACTS = "SELECT position, id, subject, at, body FROM outbox ORDER BY position"
RELAYED = """
    SELECT relay.position AS relayed, outbox_head.position AS head
    FROM relay CROSS JOIN outbox_head WHERE relay.position > outbox_head.position"""
LETTERS = """
    SELECT source, position, at, left(error, 200) AS error,
        format('./cbs dead-letters replay %s %s %s', $1::text, source, position) AS replay_with
    FROM dead_letter WHERE replayed_at IS NULL ORDER BY source, position"""
HALF_ANSWERED = """
    SELECT principal, key, status, answered_at FROM request
    WHERE (status IS NULL) <> (body IS NULL) OR (status IS NULL) <> (answered_at IS NULL)
        OR status NOT BETWEEN 200 AND 499"""
UNDER_WAY = """
    SELECT principal, key, asked_at FROM request
    WHERE status IS NULL AND asked_at < now() - make_interval(mins => $1) ORDER BY asked_at"""
WATERMARKS = "SELECT source, position FROM watermark"
HEAD = "SELECT position FROM outbox_head"


def checks_of_every(service: str) -> list[Check]:
    async def untrue(snapshots: SnapshotReader) -> AsyncIterator[Row]:
        async for row in snapshots.rows(service, FACTS):
            if fault := _fault(service, row):
                yield {"position": row["position"], "fault": fault}

    async def ahead(snapshots: SnapshotReader) -> AsyncIterator[Row]:
        # The source is asked after the listener was read, so it can only have gone on.
        for row in await snapshots[service].fetch(WATERMARKS):
            if row["source"] in snapshots.services:
                head = (await snapshots.now(row["source"], HEAD))[0]["position"]
                if row["position"] > head:
                    yield {"source": row["source"], "heard": row["position"], "head": head}

    return [
        query(service, "outbox-gapless", "facts are numbered from 1 up to the head", GAPS),
        Check(
            service=service,
            name="outbox-true",
            promise="a fact says of itself what its row says",
            find=untrue,
        ),
        query(service, "relay-behind", "nothing is published that was not written", RELAYED),
        Check(
            service=service,
            name="inbox-behind",
            promise="nothing was heard that was not said",
            find=ahead,
        ),
        query(service, "dead-letters", "every fact heard was digested", LETTERS, service),
        query(service, "requests-whole", "a request is answered whole, or not yet", HALF_ANSWERED),
        query(
            service,
            "requests-finished",
            f"no request is under way for more than {UNDER_WAY_MINUTES_MAX} minutes",
            UNDER_WAY,
            UNDER_WAY_MINUTES_MAX,
        ),
    ]


def _fault(service: str, row: Row) -> str:
    try:
        fact = fact_of(row["body"])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        return f"is no fact: {error}"
    event = fact.event
    said = (event.source, fact.source, f"cbs.{fact.source}.events.{fact.name}", event.id)
    if said != (f"/cbs/{service}", service, row["subject"], row["id"]):
        return f"says {event.source}, {event.type}, {event.id}"
    if (fact.position, event.time) != (row["position"], row["at"]):
        return f"says position {fact.position} and {event.time}"
    return ""
