"""What one service knows from another is what the other has, up to the fence."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from cbs.tools.ops.verify.audit_log import audit_log_faults
from cbs.tools.ops.verify.checks import Check
from cbs.tools.ops.verify.snapshots import Row, Snapshots

SAID = "SELECT position, body FROM outbox WHERE position <= $1 ORDER BY position"
KEPT = """
    SELECT position, body FROM audit_entry
    WHERE source = $1 AND position <= $2 ORDER BY position"""
SET_ASIDE = """
    SELECT position FROM dead_letter
    WHERE source = $1 AND position <= $2 AND replayed_at IS NULL"""

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
POSTED_ASIDE = r"""
    SELECT substring(encode(body, 'escape')
        from '"transaction_id":"([0-9a-f-]{36})"')::uuid AS id
    FROM dead_letter WHERE source = 'ledger' AND replayed_at IS NULL"""


async def aligned(
    left: AsyncIterator[Row], right: AsyncIterator[Row], key: Callable[[Row], Any]
) -> AsyncIterator[tuple[Row | None, Row | None]]:
    """Pairs of rows with equal keys; a row without its like comes alone. Both come in order."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and key(one) < key(other)):
            yield one, None
            one = await anext(left, None)
        elif one is None or key(other) < key(one):
            yield None, other
            other = await anext(right, None)
        else:
            yield one, other
            one, other = await anext(left, None), await anext(right, None)


async def _unlike_the_ledger(snapshots: Snapshots) -> AsyncIterator[Row]:
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


PAYMENT_CHECKS = [
    Check(
        service="payments",
        name="transfers-listed",
        promise="the list of payments is what the ledger posted",
        find=_unlike_the_ledger,
    )
]


def audit_checks(sources: tuple[str, ...]) -> list[Check]:
    return [_audited(source) for source in sources] + [
        Check(
            service="audit",
            name="log-whole",
            promise="the audit log's tree is that of its entries",
            find=_log_faults,
        )
    ]


def _audited(source: str) -> Check:
    async def find(snapshots: Snapshots) -> AsyncIterator[Row]:
        fence = snapshots.must_have_heard("audit", source)
        # Those are reported by themselves, with how to replay them.
        letters = await snapshots["audit"].fetch(SET_ASIDE, source, fence)
        aside = {row["position"] for row in letters}
        pairs = aligned(
            snapshots.rows(source, SAID, fence),
            snapshots.rows("audit", KEPT, source, fence),
            lambda row: row["position"],
        )
        async for said, kept in pairs:
            if said is None and kept is not None:
                yield {"position": kept["position"], "fault": "never said"}
            elif said is not None and kept is None and said["position"] not in aside:
                yield {"position": said["position"], "fault": "not kept"}
            elif said is not None and kept is not None and said["body"] != kept["body"]:
                yield {"position": said["position"], "fault": "kept with other bytes"}

    return Check(
        service="audit",
        name=f"audited-{source}",
        promise=f"every fact of {source} is kept byte for byte",
        find=find,
    )


async def _log_faults(snapshots: Snapshots) -> AsyncIterator[Row]:
    for fault in await audit_log_faults(snapshots["audit"]):
        yield {"fault": fault}
