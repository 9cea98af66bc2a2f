"""What accounts took once and would refuse today."""

from collections.abc import AsyncIterator

from cbs.kernel.text import in_one_form, is_line
from cbs.platform.invariants import Check, Row, SnapshotReader

PRODUCTS = "SELECT code, name FROM product ORDER BY code"
LIVING = """
    SELECT customer_id, array_agg(number ORDER BY number) AS numbers FROM account
    WHERE state NOT IN ('closed', 'refused') GROUP BY customer_id ORDER BY customer_id"""
CLOSED = "SELECT id FROM customer WHERE status = 'closed' AND id = ANY($1::uuid[])"


async def _products(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows("accounts", PRODUCTS):
        if not is_line(row["name"]) or in_one_form(row["name"]) != row["name"]:
            yield {
                "product": row["code"],
                "repair": "offer a product of another code, and open no more of this one",
            }


async def _of_closed_customers(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for batch in snapshots.batches("accounts", LIVING):
        numbers = {row["customer_id"]: row["numbers"] for row in batch}
        for row in await snapshots["customers"].fetch(CLOSED, list(numbers)):
            yield {
                "customer_id": row["id"],
                "accounts": ", ".join(numbers[row["id"]]),
                "repair": "freeze each with POST /v1/accounts/…/freeze, pay out what is due to"
                " whom it is due, and close it",
            }


OUTDATED = (
    Check(
        service="accounts",
        name="products",
        promise="the name of a product is a line that can be read",
        find=_products,
    ),
    Check(
        service="accounts",
        name="closed-customers",
        promise="a customer who is closed has no account",
        find=_of_closed_customers,
        reads=("customers",),
    ),
)
