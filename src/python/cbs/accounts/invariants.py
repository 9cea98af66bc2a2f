"""What `accounts` agreed with customers is what the ledger holds their accounts to.

`accounts` writes a change down before it tells the ledger, and is read first: of what the ledger
then has on top, `accounts` is asked again, and must know of it.
"""

from collections.abc import AsyncIterator, Iterator

from cbs.platform.invariants import Check, Row, SnapshotReader, aligned

# In the ledger's words. What is not settled is on its way there, and checked when it has arrived.
AGREED = """
    SELECT number COLLATE "C" AS number, state, version, acknowledged, currency,
        -overdraft_minor AS floor_minor, NULL::bigint AS ceiling_minor,
        limit_per_transaction_minor, limit_per_day_minor, frozen IS NOT NULL AS debit_blocked,
        frozen IS NOT DISTINCT FROM 'all' AS credit_blocked,
        state IN ('closing', 'closed') AS closed
    FROM account ORDER BY number COLLATE "C" """
HELD = """
    SELECT number COLLATE "C" AS number, version, currency, floor_minor, ceiling_minor,
        limit_per_transaction_minor, limit_per_day_minor, debit_blocked, credit_blocked, closed
    FROM account WHERE kind = 'customer' ORDER BY number COLLATE "C" """
KNOWN_NOW = "SELECT version, state FROM account WHERE number = $1"
TERMS = (
    "currency",
    "floor_minor",
    "ceiling_minor",
    "limit_per_transaction_minor",
    "limit_per_day_minor",
    "debit_blocked",
    "credit_blocked",
    "closed",
)


async def unlike_the_ledger(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    pairs = aligned(
        snapshots.rows("accounts", AGREED),
        snapshots.rows("ledger", HELD),
        lambda row: row["number"],
    )
    async for agreed, held in pairs:
        number = (agreed or held or {})["number"]
        for fault in _faults(agreed, held):
            yield {"number": number, "fault": fault}
        if held is not None and (agreed is None or held["version"] > agreed["version"]):
            now = await snapshots.now("accounts", KNOWN_NOW, number)
            if not now:
                yield {"number": number, "fault": "accounts does not know it"}
            elif now[0]["version"] < held["version"]:
                yield {
                    "number": number,
                    "fault": f"the ledger has version {held['version']},"
                    f" accounts {now[0]['version']}",
                }


def _faults(agreed: Row | None, held: Row | None) -> Iterator[str]:
    if agreed is None:
        return
    if held is None:
        if agreed["acknowledged"]:
            yield f"{agreed['state']}, and the ledger does not know it"
        return
    if agreed["state"] == "refused":
        yield "refused, and the ledger has it"
    if held["version"] < agreed["acknowledged"]:
        yield f"the ledger has version {held['version']}, acknowledged {agreed['acknowledged']}"
    if held["version"] == agreed["version"] == agreed["acknowledged"]:
        for term in TERMS:
            if agreed[term] != held[term]:
                yield f"{term} is {held[term]} in the ledger, agreed {agreed[term]}"


CHECKS = (
    Check(
        service="accounts",
        name="terms-held",
        promise="the ledger holds each account to the agreed terms, and no other account",
        find=unlike_the_ledger,
        reads=("ledger",),
    ),
)
