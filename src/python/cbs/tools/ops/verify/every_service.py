"""What must be true of every service: its outbox, its inbox, and the keys of its requests."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec

from cbs.platform.coverage import Columns, seen, unseen
from cbs.platform.declaration import declaration_of
from cbs.platform.idempotency import digest_of
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
FACTS = """
    SELECT position, id, subject, at, body FROM outbox WHERE position > $1 ORDER BY position"""
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
        OR status NOT BETWEEN 200 AND 499
        OR status >= 400 AND status::text IS DISTINCT FROM
            substring(encode(body, 'escape') from '"status":([0-9]+)')"""
UNDER_WAY = """
    SELECT principal, key, asked_at FROM request
    WHERE status IS NULL AND asked_at < now() - make_interval(mins => $1) ORDER BY asked_at"""
WATERMARKS = "SELECT source, position FROM watermark"
HEAD = "SELECT position FROM outbox_head"
ANSWERED = "SELECT position, body FROM outbox WHERE subject = $1 ORDER BY position"
KEPT = """
    SELECT principal, key, fingerprint, status, body, asked_at, answered_at
    FROM request JOIN unnest($1::text[], $2::text[]) AS told (principal, key)
    USING (principal, key) WHERE status IS NOT NULL"""
# A saga is begun by the request that claims its key, and answers it with its last step.
SAGAS = """
    SELECT saga.id, principal, key, step, refusal_code, status
    FROM saga LEFT JOIN request USING (principal, key)
    WHERE request.key IS NULL OR (step = 'done') <> (status IS NOT NULL)
        OR (refusal_code = '') <> (refusal_status IS NULL)
        OR (refusal_status IS NULL) <> (refusal_body IS NULL)
        OR refusal_code <> coalesce(
            substring(encode(refusal_body, 'escape') from '"type":"urn:cbs:([a-z0-9-]+)"'), '')
        OR step = 'done' AND (refusal_status IS NOT NULL OR status >= 400)
            AND (refusal_status, refusal_body) IS DISTINCT FROM (status, body)"""
ASIDE = "SELECT source, position, body FROM dead_letter ORDER BY source, position"
SAID = "SELECT body FROM outbox WHERE position = $1"


class Answered(msgspec.Struct):
    principal: str
    key: str
    digest: str


class AnsweredFact(msgspec.Struct):
    data: Answered


_answered = msgspec.json.Decoder(AnsweredFact)


COVERAGE_OF_SAGAS = (
    seen("saga", "principal key step", by="sagas-answered"),
    seen("saga", "refusal_code refusal_status refusal_body", by="sagas-answered"),
    unseen(
        "saga",
        "id kind data on_behalf_of correlation_id begun_at",
        because="read until it is done, which is a matter of seconds; what it did is told in facts",
    ),
    unseen("saga", "lease_until tries error", because="who drives it, and how often it was tried"),
)


def coverage_of_every(service: str) -> tuple[Columns, ...]:
    """Of the tables that every service has. What the ledger's batches answer stands with it."""
    one, audited = "the only row's key, which nothing reads", f"audit/audited-{service}"
    told = "encode(body, 'escape') NOT LIKE '{\"transaction\":%' AND status < 400"
    return (
        *(COVERAGE_OF_SAGAS if "saga" in declaration_of(service).keeps else ()),
        seen("outbox", "position", by="outbox-gapless"),
        seen("outbox", "id subject at", by="outbox-true"),
        seen("outbox", "body", by=audited),
        seen("outbox_head", "position", by="outbox-gapless"),
        seen("relay", "position", by="relay-behind"),
        unseen("outbox_head", "one", because=one),
        unseen("relay", "one", because=one),
        seen("watermark", "source position", by="inbox-behind"),
        seen("dead_letter", "source position body", by="set-aside-true"),
        unseen("dead_letter", "error at", because="what an operator reads of a try that failed"),
        unseen(
            "dead_letter",
            "replayed_at",
            because="that a replay was done is found where its effect is missed",
        ),
        seen(
            "request",
            "principal key fingerprint status body asked_at answered_at",
            by="answers-told",
            where=told if service == "ledger" else "status IS NOT NULL",
        ),
        unseen(
            "migration",
            "id name app_name ran_on",
            because="piccolo's note; a service that lacks a migration does not start",
        ),
    )


async def _untrue(service: str, snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows(service, FACTS, snapshots.verified(service)):
        if fault := _fault(service, row):
            yield {"position": row["position"], "fault": fault}


async def _ahead(service: str, snapshots: SnapshotReader) -> AsyncIterator[Row]:
    # The source is asked after the listener was read, so it can only have gone on.
    hears = declaration_of(service).hears
    for row in await snapshots[service].fetch(WATERMARKS):
        if row["source"] not in hears:
            yield {"source": row["source"], "heard": row["position"], "head": None}
        elif row["source"] in snapshots.services:
            head = (await snapshots.now(row["source"], HEAD))[0]["position"]
            if row["position"] > head:
                yield {"source": row["source"], "heard": row["position"], "head": head}


async def _otherwise(service: str, snapshots: SnapshotReader) -> AsyncIterator[Row]:
    subject = f"cbs.{service}.events.request-answered"
    async for batch in snapshots.batches(service, ANSWERED, subject):
        for row in await _answered_otherwise(snapshots[service], batch):
            yield row


async def _made_up(service: str, snapshots: SnapshotReader) -> AsyncIterator[Row]:
    hears = declaration_of(service).hears
    async for row in snapshots.rows(service, ASIDE):
        if row["source"] not in hears:
            yield {"source": row["source"], "position": row["position"]}
        elif row["source"] in snapshots.services:
            said = await snapshots.now(row["source"], SAID, row["position"])
            if not said or said[0]["body"] != row["body"]:
                yield {"source": row["source"], "position": row["position"]}


def checks_of_every(service: str) -> list[Check]:
    sagas = query(service, "sagas-answered", "a saga answers the request that began it", SAGAS)
    return [
        *([sagas] if "saga" in declaration_of(service).keeps else []),
        query(service, "outbox-gapless", "facts are numbered from 1 up to the head", GAPS),
        Check(
            service=service,
            name="outbox-true",
            promise="a fact says of itself what its row says",
            find=partial(_untrue, service),
        ),
        query(service, "relay-behind", "nothing is published that was not written", RELAYED),
        Check(
            service=service,
            name="inbox-behind",
            promise="nothing was heard that was not said",
            find=partial(_ahead, service),
        ),
        query(service, "dead-letters", "every fact heard was digested", LETTERS, service),
        Check(
            service=service,
            name="set-aside-true",
            promise="what was set aside is what was said",
            find=partial(_made_up, service),
        ),
        Check(
            service=service,
            name="answers-told",
            promise="a kept answer is the one that was told",
            find=partial(_otherwise, service),
        ),
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


async def _answered_otherwise(connection: Any, batch: Sequence[Row]) -> list[Row]:
    told: dict[tuple[str, str], Answered] = {}
    for row in batch:
        try:
            answered = _answered.decode(row["body"]).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # outbox-true says so
        told[answered.principal, answered.key] = answered
    rows = await connection.fetch(KEPT, *([*zip(*told, strict=True)] or ([], [])))
    kept = {(row["principal"], row["key"]): digest_of(**row) for row in rows}
    return [
        {
            "principal": principal,
            "key": key,
            "fault": "kept otherwise" if (principal, key) in kept else "not kept",
        }
        for (principal, key), answered in told.items()
        if kept.get((principal, key)) != answered.digest
    ]
