"""A customer's rows are those of which the newest digest was told.

Facts tell no names and no numbers, so that they tell of the rows is shown by a digest. A change by
an older release, which tells none, leaves its customer unjudged until the next one by a newer.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from cbs.platform.coverage import Columns, seen, unseen
from cbs.platform.invariants import BATCH_ROWS, Check, Row, SnapshotReader, aligned
from cbs.platform.recorded import digest_of_rows

CUSTOMERS, RECORDED = "customers", "cbs.customers.events.customer-recorded"
NOT_OF_CUSTOMERS = [
    f"cbs.customers.events.{fact}" for fact in ("permission-refused", "request-answered")
]

# Of each customer the fact that was told last.
TOLD = r"""
    SELECT DISTINCT ON (id) id, subject, body FROM (
        SELECT substring(encode(body, 'escape') from '"subject":"([^"]+)"') COLLATE "C" AS id,
            position, subject, body
        FROM outbox WHERE subject <> ALL($1::text[])
    ) AS fact ORDER BY id, position DESC"""
IDS = "SELECT id::text FROM customer ORDER BY id"
ROWS = "SELECT * FROM customer WHERE id = ANY($1::uuid[])"
DOCUMENTS = "SELECT * FROM document WHERE customer = ANY($1::uuid[]) ORDER BY customer, place, id"


class RecordedData(msgspec.Struct):
    digest: str


class Recorded(msgspec.Struct):
    data: RecordedData


_recorded = msgspec.json.Decoder(Recorded)


async def recorded_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Customers who are not what was recorded of them last."""
    pairs = aligned(
        snapshots.rows(CUSTOMERS, TOLD, NOT_OF_CUSTOMERS),
        snapshots.rows(CUSTOMERS, IDS),
        lambda row: row["id"],
    )
    due: dict[str, str] = {}
    async for told, there in pairs:
        if told is None or there is None:
            id = (told or there or {})["id"]
            yield {"id": id, "fault": "never told" if told is None else "told, and not there"}
        elif told["subject"] == RECORDED:
            try:
                due[told["id"]] = _recorded.decode(told["body"]).data.digest
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # outbox-true says so
        if len(due) == BATCH_ROWS:
            for row in await _otherwise(snapshots[CUSTOMERS], due):
                yield row
            due.clear()
    for row in await _otherwise(snapshots[CUSTOMERS], due):
        yield row


async def _otherwise(connection: Any, due: Mapping[str, str]) -> list[Row]:
    rows = {str(row["id"]): [row] for row in await connection.fetch(ROWS, list(due))}
    for document in await connection.fetch(DOCUMENTS, list(due)):
        rows[str(document["customer"])].append(document)
    return [
        {"id": id, "fault": "kept otherwise than it was recorded"}
        for id, digest in due.items()
        if digest_of_rows(rows[id]) != digest
    ]


CHECKS: tuple[Check, ...] = (
    Check(
        service=CUSTOMERS,
        name="customers-recorded",
        promise="a customer and their documents are what was recorded last",
        find=recorded_otherwise,
    ),
)
COVERAGE: tuple[Columns, ...] = (
    seen(
        "customer",
        "id given_name family_name search_name date_of_birth email mobile address imported"
        " registered_at status status_reason kyc verified_until risk risk_reason rated_by rated_at"
        " search_family standing_version standing_under_way alike alike_reason alike_decided_by"
        " alike_decided_at salt",
        by="customers-recorded",
    ),
    seen(
        "document",
        "id customer place type issuer sealed number_index expires_on added_by added_at state"
        " decided_by decided_at reason",
        by="customers-recorded",
    ),
    unseen("vault", "one proof", because="a service whose key has another proof does not start"),
)
