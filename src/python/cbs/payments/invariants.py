"""What payments lists of the ledger is what the ledger posted, up to the fence."""

from collections.abc import AsyncIterator

from cbs.platform.coverage import Columns, seen
from cbs.platform.invariants import Check, Row, SnapshotReader, aligned

PAYMENTS = ("transfer", "cash-deposit", "cash-withdrawal")
POSTED = """
    SELECT id, kind, remitter_account, beneficiary_account, amount_minor, currency, narrative,
        booked_on, value_on, booked_at
    FROM transaction JOIN (
        SELECT transaction_id, max(amount_minor) AS amount_minor,
            (array_agg(account ORDER BY amount_minor))[1] AS remitter_account,
            (array_agg(account ORDER BY amount_minor))[2] AS beneficiary_account
        FROM posting GROUP BY transaction_id HAVING count(*) = 2
    ) AS legs ON transaction_id = id
    WHERE kind = ANY($1::text[]) ORDER BY id"""
LISTED = """
    SELECT id, kind, remitter_account, beneficiary_account, amount_minor, currency, narrative,
        booked_on, value_on, booked_at
    FROM transfer WHERE position <= $1 ORDER BY id"""
LISTED_AHEAD = """
    SELECT id, transfer.position, watermark.position AS heard
    FROM transfer JOIN watermark ON source = 'ledger'
    WHERE transfer.position > watermark.position"""
TOLD = r"""
    SELECT position, substring(encode(body, 'escape')
        from '"transaction_id":"([0-9a-f-]{36})"')::uuid AS id
    FROM outbox WHERE subject = 'cbs.ledger.events.transaction-posted' AND position <= $1
    ORDER BY position"""
HEARD = "SELECT position, id FROM transfer WHERE position <= $1 ORDER BY position"
POSTED_ASIDE = r"""
    SELECT substring(encode(body, 'escape')
        from '"transaction_id":"([0-9a-f-]{36})"')::uuid AS id
    FROM dead_letter WHERE source = 'ledger' AND replayed_at IS NULL"""


async def _unlike_the_ledger(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    fence = snapshots.must_have_heard("payments", "ledger")
    async for row in snapshots.rows("payments", LISTED_AHEAD):
        yield {"id": row["id"], "fault": f"of fact {row['position']}, heard {row['heard']}"}
    # Those are reported by themselves, with how to replay them.
    aside = {row["id"] for row in await snapshots["payments"].fetch(POSTED_ASIDE)}
    pairs = aligned(
        snapshots.rows("ledger", POSTED, PAYMENTS),
        snapshots.rows("payments", LISTED, fence),
        lambda row: row["id"],
    )
    async for posted, listed in pairs:
        if posted is None and listed is not None:
            yield {"id": listed["id"], "fault": "never posted"}
        elif posted is not None and listed is None and posted["id"] not in aside:
            yield {"id": posted["id"], "fault": "not listed"}
        elif posted is not None and listed is not None and dict(posted) != dict(listed):
            other = [name for name, value in posted.items() if listed[name] != value]
            yield {"id": posted["id"], "fault": f"listed with another {', '.join(other)}"}


async def _unlike_the_facts(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    fence = snapshots.must_have_heard("payments", "ledger")
    pairs = aligned(
        snapshots.rows("ledger", TOLD, fence),
        snapshots.rows("payments", HEARD, fence),
        lambda row: row["position"],
    )
    async for told, heard in pairs:
        if heard is not None and (told is None or told["id"] != heard["id"]):
            yield {"id": heard["id"], "position": heard["position"]}


CHECKS = (
    Check(
        service="payments",
        name="transfers-listed",
        promise="the list of payments is what the ledger posted",
        find=_unlike_the_ledger,
        reads=("ledger",),
    ),
    Check(
        service="payments",
        name="listed-as-told",
        promise="a payment is listed at the position of the fact that tells it",
        find=_unlike_the_facts,
        reads=("ledger",),
    ),
)
COVERAGE: tuple[Columns, ...] = (
    seen(
        "transfer",
        "id kind remitter_account beneficiary_account amount_minor currency narrative booked_on"
        " value_on booked_at",
        by="transfers-listed",
    ),
    seen("transfer", "position", by="listed-as-told transfers-listed"),
)
