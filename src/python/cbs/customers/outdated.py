"""What customers took once and would refuse today: it stays readable, and is mended by field."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from cbs.customers.domain.document import DocumentType, issuer_of
from cbs.customers.domain.issuer import NotAnIssuer, is_country
from cbs.customers.domain.person import EMAIL, is_mobile
from cbs.kernel.text import in_one_form, is_line
from cbs.platform.invariants import Check, Row, SnapshotReader

PEOPLE = """
    SELECT id, given_name, family_name, date_of_birth, email, mobile, address, status_reason,
        risk_reason FROM customer WHERE status <> 'closed' ORDER BY id"""
PAPERS = """
    SELECT id, customer, type, issuer, reason FROM document
    WHERE state <> 'rejected' ORDER BY customer, place"""
ALIKE = """
    SELECT array_agg(id ORDER BY id) AS customers FROM customer
    WHERE status <> 'closed' AND mobile IS NOT NULL
    GROUP BY search_name, date_of_birth, mobile
    HAVING count(*) > 1 AND bool_and(alike = '{}') ORDER BY customers"""
AMEND = "PATCH /v1/customers/{}: say the {} again, as it is taken today"


async def _people(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows("customers", PEOPLE):
        for field in _wrong(row):
            yield {
                "customer_id": row["id"],
                "field": field,
                "repair": AMEND.format(row["id"], field),
            }


def _wrong(row: Row) -> Iterator[str]:
    for name in ("given_name", "family_name"):
        if row[name] is not None and not _is_written(row[name]):
            yield name
    if row["email"] is not None and not EMAIL.fullmatch(row["email"]):
        yield "email"
    if row["mobile"] is not None and not is_mobile(row["mobile"]):
        yield "mobile"
    address: dict[str, Any] = msgspec.json.decode(row["address"])
    texts = (*address["lines"], address["city"], address.get("state") or "x")
    if not is_country(address["country"]) or not all(map(_is_written, texts)):
        yield "address"


def _is_written(text: str) -> bool:
    return is_line(text) and in_one_form(text) == text


async def _papers(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows("customers", PAPERS):
        if not _is_issuer(row):
            yield {
                "document_id": row["id"],
                "customer_id": row["customer"],
                "issuer": row["issuer"],
                "repair": f"POST /v1/customers/{row['customer']}/documents/{row['id']}/reject,"
                " and present it again",
            }


def _is_issuer(row: Row) -> bool:
    try:
        return issuer_of(DocumentType(row["type"]), row["issuer"]) == str(row["issuer"])
    except NotAnIssuer:
        return False


async def _alike(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows("customers", ALIKE):
        first, *others = row["customers"]
        yield {
            "customer_id": first,
            "alike": ", ".join(map(str, others)),
            "repair": "see whether they are one person; if so, close all accounts of all but one,"
            " then suspend and close those customers",
        }


OUTDATED = (
    Check(
        service="customers",
        name="people",
        promise="names, mobiles, emails and addresses are as they are taken today",
        find=_people,
    ),
    Check(
        service="customers",
        name="issuers",
        promise="the issuer of a document has its one form",
        find=_papers,
    ),
    Check(
        service="customers",
        name="alike",
        promise="of two customers who may be one person, one was held for a decision",
        find=_alike,
    ),
)
