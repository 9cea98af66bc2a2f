"""What `accounts` agreed with customers is what the ledger holds their accounts to.

`accounts` writes a change down before it tells the ledger, and is read first: of what the ledger
then has on top, `accounts` is asked again, and must know of it.
"""

from collections.abc import AsyncIterator, Iterator

from cbs.accounts.invariants.freezes import freezes_otherwise, holders_otherwise
from cbs.accounts.invariants.told import accounts_otherwise, products_otherwise
from cbs.platform.coverage import Columns, seen, unseen
from cbs.platform.invariants import Check, Row, SnapshotReader, aligned, query

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
# Until the ledger has confirmed the newest version, a saga is about to see to it.
LEFT_BEHIND = """
    SELECT id, number, state, version, acknowledged, contingent FROM account
    WHERE CASE state
        WHEN 'refused' THEN version <> 1 OR acknowledged <> 0 OR contingent
        ELSE (version <> acknowledged OR contingent)
            AND NOT EXISTS (
                SELECT FROM saga WHERE step <> 'done' AND data ->> 'account_id' = account.id::text)
            AND NOT EXISTS (SELECT FROM change WHERE step <> 'done' AND account_id = account.id)
        END"""
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
    query(
        "accounts",
        "under-way",
        "what the ledger has not confirmed of an account is under way",
        LEFT_BEHIND,
    ),
    Check(
        service="accounts",
        name="accounts-told",
        promise="an account is what was told of it",
        find=accounts_otherwise,
    ),
    Check(
        service="accounts",
        name="products-told",
        promise="a product is as it was told of",
        find=products_otherwise,
    ),
    Check(
        service="accounts",
        name="freezes-told",
        promise="a freeze is what was told of it, and was lifted as was told",
        find=freezes_otherwise,
    ),
    Check(
        service="accounts",
        name="holders-standing",
        promise="whoever holds an account stands as customers has it",
        find=holders_otherwise,
        reads=("customers",),
    ),
)
OPENED = "state <> 'refused'"
COVERAGE: tuple[Columns, ...] = (
    seen("account", "id state", by="accounts-told"),
    seen("account", "version acknowledged contingent", by="under-way"),
    seen(
        "account",
        "number branch customer_id product currency overdraft_minor limit_per_transaction_minor"
        " limit_per_day_minor frozen opened_at closed_at",
        by="accounts-told",
        where=OPENED,
    ),
    unseen(
        "account",
        "number branch product currency overdraft_minor limit_per_transaction_minor"
        " limit_per_day_minor frozen opened_at closed_at",
        where="state = 'refused'",
        because="an account that was never opened has no terms, and its number is not used again",
    ),
    seen("account", "customer_id", by="accounts-told", where="state = 'refused'"),
    seen(
        "product",
        "code name kind currency overdraft_min_minor overdraft_max_minor"
        " limit_per_transaction_minor limit_per_day_minor active",
        by="products-told",
    ),
    seen(
        "account_freeze",
        "id account_id scope cause reason authority until placed_by placed_at lifted_by lifted_at"
        " lifted_because",
        by="freezes-told",
    ),
    seen("holder", "customer_id version standing", by="holders-standing"),
    unseen(
        "change",
        "id account_id kind step version terms former principal key on_behalf_of correlation_id"
        " reason refusal_status refusal_body lease_until tries error",
        because="only a release before sagas writes it; what it left is taken over as a saga",
    ),
)
