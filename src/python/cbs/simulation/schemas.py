"""The services' tables as their migrations make them, as far as anything depends on it."""

from collections.abc import Sequence

import asyncpg

from cbs.simulation.tables import Row, Schema, Tables

PLUMBING = {
    "migration": Schema(),
    "outbox_head": Schema(),
    "outbox": Schema(unique=[("position",)]),
    "relay": Schema(),
    "watermark": Schema(unique=[("source",)]),
    "dead_letter": Schema(unique=[("source", "position")], default={"replayed_at": None}),
    "request": Schema(
        unique=[("principal", "key")],
        default={"status": None, "body": None, "answered_at": None},
    ),
}


def _within(row: Row) -> bool:
    floor, ceiling, balance = row["floor_minor"], row["ceiling_minor"], row["balance_minor"]
    return (floor is None or balance >= floor) and (ceiling is None or balance <= ceiling)


LEDGER = {
    "account": Schema(
        unique=[("number",)],
        default={"balance_minor": 0, "postings": 0, "debited_on": None, "debited_minor": 0},
        checks=[
            _within,
            lambda row: not row["closed"] or row["balance_minor"] == 0,
            lambda row: row["version"] > 0,
        ],
    ),
    "transaction": Schema(
        unique=[("id",)], checks=[lambda row: row["value_on"] <= row["booked_on"]]
    ),
    "posting": Schema(
        unique=[("account", "seq"), ("transaction_id", "leg")],
        checks=[lambda row: row["amount_minor"] != 0],
    ),
}
ACCOUNTS = {
    "product": Schema(unique=[("code",)], default={"overdraft_min_minor": 0, "active": True}),
    "account": Schema(
        unique=[("id",), ("number",)],
        checks=[
            lambda row: 0 <= row["acknowledged"] <= row["version"],
            lambda row: (row["opened_at"] is None) == (row["state"] in ("opening", "refused")),
            lambda row: (row["closed_at"] is None) == (row["state"] != "closed"),
            lambda row: row["contingent"] or row["state"] not in ("opening", "closing"),
        ],
    ),
    "saga": Schema(
        unique=[("id",), ("principal", "key")],
        default={
            "tries": 0,
            "error": "",
            "refusal_code": "",
            "refusal_status": None,
            "refusal_body": None,
        },
    ),
}
CUSTOMERS = {
    "customer": Schema(
        unique=[("id",)],
        checks=[
            lambda row: (row["kyc"] == "verified") == (row["verified_until"] is not None),
            lambda row: (row["rated_by"] is None) == (row["rated_at"] is None),
        ],
    ),
    "document": Schema(
        unique=[("id",), ("customer", "place")],
        unique_if=[(("number_index",), lambda row: row["state"] != "rejected")],
        default={"decided_by": None, "decided_at": None, "reason": None},
    ),
    "vault": Schema(unique=[("one",)], default={"one": True}),
}
PAYMENTS = {
    "transfer": Schema(
        unique=[("id",), ("position",)], checks=[lambda row: row["amount_minor"] > 0]
    )
}
AUDIT = {
    "audit_entry": Schema(unique=[("index",), ("source", "position")]),
    "audit_node": Schema(unique=[("level", "index")]),
    "audit_head": Schema(),
}
SCHEMAS = {
    "customers": CUSTOMERS,
    "accounts": ACCOUNTS,
    "ledger": LEDGER,
    "payments": PAYMENTS,
    "audit": AUDIT,
}
EMPTY_ROOT = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def begin(service: str, tables: Tables) -> None:
    """What the migrations put in."""
    names = [f"{service}_0001_first"] + (["accounts_0002_saga"] if service == "accounts" else [])
    tables.insert("migration", [{"name": name} for name in names])
    tables.insert("outbox_head", [{"position": 0}])
    tables.insert("relay", [{"position": 0}])
    if service == "audit":
        head = {"tree_size": 0, "peaks": [], "root_hash": EMPTY_ROOT, "at": tables.now()}
        tables.insert("audit_head", [head])
    if service == "accounts":
        rupees = {"currency": "INR", "limit_per_transaction_minor": 20_000_000}
        day = {"limit_per_day_minor": 50_000_000}
        tables.insert(
            "product",
            [
                {"code": "SAVINGS-INR", "name": "Savings account", "kind": "savings"}
                | {**rupees, **day, "overdraft_max_minor": 0},
                {"code": "CURRENT-INR", "name": "Current account", "kind": "current"}
                | {**rupees, **day, "overdraft_max_minor": 50_000_000},
            ],
        )
    if service == "ledger":
        free = ("floor", "ceiling", "limit_per_transaction", "limit_per_day")
        till: Row = {"number": "INR-CASH", "kind": "internal", "currency": "INR", "version": 1}
        till |= {f"{name}_minor": None for name in free}
        till |= {"debit_blocked": False, "credit_blocked": False, "closed": False}
        tables.insert("account", [till])
        tables.after_insert["posting"] = lambda added: _apply_postings(tables, added)
    tables.keep()


def _apply_postings(tables: Tables, added: Sequence[Row]) -> None:
    """The trigger: each statement balances, and balances move only here."""
    transactions: dict[object, list[Row]] = {}
    for row in added:
        transactions.setdefault(row["transaction_id"], []).append(row)
    for legs in transactions.values():
        if sum(leg["amount_minor"] for leg in legs) != 0 or len(legs) < 2:
            raise asyncpg.CheckViolationError("the postings of a transaction sum to zero")
    of_account: dict[str, list[Row]] = {}
    for row in sorted(added, key=lambda row: row["seq"]):
        of_account.setdefault(row["account"], []).append(row)
    for number, rows in of_account.items():
        account = tables.row("account", ("number",), (number,))
        total = sum(row["amount_minor"] for row in rows)
        follows = (
            account is not None
            and not account["closed"]
            and all(row["currency"] == account["currency"] for row in rows)
            and account["postings"] + len(rows) == rows[-1]["seq"]
            and account["balance_minor"] + total == rows[-1]["balance_after_minor"]
        )
        if not follows:
            raise asyncpg.CheckViolationError("a posting does not follow from its account")
        assert account is not None
        _move(tables, account, rows, total)


def _move(tables: Tables, account: Row, rows: list[Row], total: int) -> None:
    day, known = rows[0]["booked_on"], account["debited_on"]
    debited = sum(-r["amount_minor"] for r in rows if r["limited"] and r["amount_minor"] < 0)
    tables.replace(
        "account",
        account,
        {
            "balance_minor": account["balance_minor"] + total,
            "postings": account["postings"] + len(rows),
            "debited_on": max(day, known or day),
            "debited_minor": debited + (account["debited_minor"] if known and known >= day else 0),
        },
    )
