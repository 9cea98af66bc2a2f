"""Accounts and products are what this service told of them, in the facts of its own outbox.

What facts of an older release do not tell yet, rows are not judged on.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from cbs.platform.invariants import Row, SnapshotReader, aligned

ACCOUNTS = "accounts"
OPENED, REFUSED, CLOSED = "account-opened", "account-opening-refused", "account-closed"
FROZEN, UNFROZEN, LIMITS = "account-frozen", "account-unfrozen", "limits-changed"
KINDS = (OPENED, REFUSED, FROZEN, UNFROZEN, LIMITS, CLOSED)

SAID = r"""
    SELECT body FROM outbox WHERE subject = ANY($1::text[]) ORDER BY
        substring(encode(body, 'escape') from '"subject":"([^"]+)"') COLLATE "C", position"""
HELD = """
    SELECT id::text AS id, number, branch, customer_id::text, product, currency, state,
        overdraft_minor, limit_per_transaction_minor, limit_per_day_minor, frozen, opened_at,
        closed_at, version = acknowledged AND NOT contingent AS settled
    FROM account ORDER BY id"""
OFFERED = 'SELECT * FROM product ORDER BY code COLLATE "C"'
# What stays as it was when the account was opened; what may change is judged when it is settled.
FOR_GOOD = ("number", "customer_id", "product", "currency", "branch", "opened_at")
ON_TERMS = ("overdraft_minor", "limit_per_transaction_minor", "limit_per_day_minor")
# The products that the bank begins with. Nobody was there to be told.
SAVINGS = {
    "code": "SAVINGS-INR",
    "name": "Savings account",
    "kind": "savings",
    "currency": "INR",
    "overdraft_min_minor": 0,
    "overdraft_max_minor": 0,
    "limit_per_transaction_minor": 20_000_000,
    "limit_per_day_minor": 50_000_000,
    "active": True,
}
CURRENT = {
    **SAVINGS,
    "code": "CURRENT-INR",
    "name": "Current account",
    "kind": "current",
    "overdraft_max_minor": 50_000_000,
    "limit_per_transaction_minor": 200_000_000,
    "limit_per_day_minor": 500_000_000,
}
FIRST = {str(each["code"]): each for each in (SAVINGS, CURRENT)}


class Said(msgspec.Struct):
    type: str
    subject: str
    data: msgspec.Raw


class SaidOfAccount(msgspec.Struct, kw_only=True):
    """All that any fact tells of an account."""

    version: int = 0
    number: str | UnsetType = UNSET
    customer_id: str | UnsetType = UNSET
    product: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    branch: int | UnsetType = UNSET
    overdraft_minor: int | UnsetType = UNSET
    limit_per_transaction_minor: int | UnsetType | None = UNSET
    limit_per_day_minor: int | UnsetType | None = UNSET
    opened_at: datetime | UnsetType | None = UNSET
    closed_at: datetime | UnsetType | None = UNSET
    scope: str | None = None
    freeze_id: str | None = None
    frozen: str | None = None


_said = msgspec.json.Decoder(Said)
_of_account = msgspec.json.Decoder(SaidOfAccount)


@dataclass(slots=True)
class Told:
    """What was told of one account: of each kind of fact the one of the highest version."""

    id: str
    newest: dict[str, SaidOfAccount] = field(default_factory=dict)

    def hear(self, kind: str, said: SaidOfAccount) -> None:
        known = self.newest.get(kind)
        if known is None or said.version > known.version:
            self.newest[kind] = said

    @property
    def state(self) -> str:
        states = ((CLOSED, "closed"), (OPENED, "open"), (REFUSED, "refused"))
        return next((state for kind, state in states if kind in self.newest), "never opened")

    @property
    def is_refused(self) -> bool:
        return self.state == "refused"

    def for_good(self) -> Iterator[tuple[str, Any]]:
        opened = self.newest.get(OPENED) or self.newest.get(REFUSED)
        for name in FOR_GOOD:
            yield name, getattr(opened, name, UNSET)

    def now(self) -> Iterator[tuple[str, Any]]:
        """What holds when nothing is under way."""
        yield "state", self.state
        if OPENED not in self.newest:
            return
        terms = self.newest.get(LIMITS) or self.newest[OPENED]
        for name in ON_TERMS:
            yield name, getattr(terms, name)
        freezes = [(said.version, kind, said) for kind, said in self.newest.items()]
        freezes = [each for each in freezes if each[1] in (FROZEN, UNFROZEN)]
        yield "frozen", _stopped(*max(freezes)[1:]) if freezes else None
        yield "closed_at", getattr(self.newest.get(CLOSED), "closed_at", None)


def _stopped(kind: str, said: SaidOfAccount) -> str | None:
    """By all freezes together. A release that knew of one freeze at a time names none."""
    if said.freeze_id is not None:
        return said.frozen
    return said.scope if kind == FROZEN else None


async def accounts_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Accounts that are not what was told of them."""
    pairs = aligned(_told(snapshots), snapshots.rows(ACCOUNTS, HELD), lambda row: row["id"])
    async for told, held in pairs:
        id = (told or held or {})["id"]
        for fault in _faults(told["told"] if told else None, held):
            yield {"id": id, "fault": fault}


def _faults(told: Told | None, held: Row | None) -> Iterator[str]:
    if held is None:
        yield "told, and not there"
    elif told is None:
        # One that is being opened has nothing to tell yet.
        if held["settled"] or held["state"] != "opening":
            yield f"{held['state']}, and never told"
    else:
        due = [*told.for_good(), *(told.now() if held["settled"] or told.is_refused else ())]
        for name, value in due:
            if value is not UNSET and held[name] != value:
                yield f"{name} is {held[name]}, told {value}"


async def _told(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """In the order of ids."""
    subjects = [f"cbs.accounts.events.{kind}" for kind in KINDS]
    told: Told | None = None
    async for row in snapshots.rows(ACCOUNTS, SAID, subjects):
        try:
            said = _said.decode(row["body"])
            of_account = _of_account.decode(said.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # outbox-true says so
        if told is not None and told.id != said.subject:
            yield {"id": told.id, "told": told}
            told = None
        told = told or Told(said.subject)
        told.hear(said.type.rpartition(".")[2], of_account)
    if told is not None:
        yield {"id": told.id, "told": told}


async def products_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Products that are not as they were offered first: nothing changes one."""
    due: dict[str, Mapping[str, Any]] = dict(FIRST)
    async for row in snapshots.rows(ACCOUNTS, SAID, ["cbs.accounts.events.product-added"]):
        try:
            said = _said.decode(row["body"])
            due[said.subject] = msgspec.json.decode(said.data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # outbox-true says so
    async for row in snapshots.rows(ACCOUNTS, OFFERED):
        told = due.pop(row["code"], None)
        if told is None:
            yield {"code": row["code"], "fault": "never told"}
            continue
        for name, value in told.items():
            if row[name] != value:
                yield {"code": row["code"], "fault": f"{name} is {row[name]}, told {value}"}
    for code in due:
        yield {"code": code, "fault": "told, and not there"}
