"""Freezes are what was told of them, and who holds an account stands as `customers` has it."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from cbs.accounts.invariants.told import ACCOUNTS
from cbs.platform.invariants import Row, SnapshotReader, aligned

# A release that knew of one freeze at a time names none.
SAID = r"""
    SELECT substring(encode(body, 'escape') from '"freeze_id":"([0-9a-f-]{36})"') COLLATE "C" AS id,
        subject = $1 AS placed, body
    FROM outbox WHERE subject IN ($1, $2) AND encode(body, 'escape') ~ '"freeze_id":"'
    ORDER BY 1, position"""
# One is told when the ledger has confirmed it; until then its account awaits that.
HELD = """
    SELECT account_freeze.id::text AS id, account_id::text, scope, cause, reason, authority, until,
        placed_by, placed_at, lifted_by, lifted_at, lifted_because,
        version = acknowledged AND NOT contingent AS settled
    FROM account_freeze LEFT JOIN account ON account.id = account_id ORDER BY account_freeze.id"""
HOLDERS = """
    SELECT customer_id::text AS id, version, standing FROM holder ORDER BY customer_id"""
STANDINGS = """
    SELECT id::text AS id, standing_version AS version, status AS standing,
        standing_under_way AS under_way
    FROM customer ORDER BY id"""
PLACED, LIFTED = "cbs.accounts.events.account-frozen", "cbs.accounts.events.account-unfrozen"

AT_PLACING = ("cause", "until", "authority", "placed_by", "placed_at")
AT_LIFTING = ("cause", "until", "lifted_by", "lifted_at")


class ToldOfFreeze(msgspec.Struct, kw_only=True):
    account_id: str
    reason: str
    scope: str | UnsetType = UNSET
    cause: str | UnsetType | None = UNSET
    until: date | UnsetType | None = UNSET
    authority: str | UnsetType | None = UNSET
    placed_by: str | UnsetType | None = UNSET
    placed_at: datetime | UnsetType | None = UNSET
    lifted_by: str | UnsetType | None = UNSET
    lifted_at: datetime | UnsetType | None = UNSET


class ToldFreeze(msgspec.Struct):
    data: ToldOfFreeze


_facts = msgspec.json.Decoder(ToldFreeze)


async def freezes_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    pairs = aligned(_told(snapshots), snapshots.rows(ACCOUNTS, HELD), lambda row: row["id"])
    async for told, held in pairs:
        for fault in _faults(told, held):
            yield {"freeze_id": (told or held or {})["id"], "fault": fault}


def _faults(told: Row | None, held: Row | None) -> Iterator[str]:
    if held is None:
        yield "told, and not there"
    elif told is None:
        if held["settled"] is not False:
            yield "never told"
    else:
        for name, value in told.items():
            if value is not UNSET and held[name] != value:
                yield f"{name} is {held[name]}, told {value}"
        lifted = [held[name] for name in ("lifted_by", "lifted_at", "lifted_because")]
        if "lifted_at" not in told and any(lifted) and held["settled"]:
            yield "lifted, and never told"


async def _told(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """All that was told of each freeze, in the order of ids."""
    told: dict[str, Any] = {}
    async for row in snapshots.rows(ACCOUNTS, SAID, PLACED, LIFTED):
        try:
            said = _facts.decode(row["body"]).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # outbox-true says so
        if told and told["id"] != row["id"]:
            yield told
            told = {}
        told |= {"id": row["id"], "account_id": said.account_id}
        if row["placed"]:
            told |= {name: getattr(said, name) for name in ("reason", "scope", *AT_PLACING)}
        else:
            told |= {name: getattr(said, name) for name in AT_LIFTING}
            told["lifted_because"] = said.reason
    if told:
        yield told


async def holders_otherwise(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    """Customers was read after this service, and it raises the version before it tells it."""
    pairs = aligned(
        snapshots.rows(ACCOUNTS, HOLDERS),
        snapshots.rows("customers", STANDINGS),
        lambda row: row["id"],
    )
    async for held, stands in pairs:
        if held is None:
            continue
        version, standing = held["version"], held["standing"]
        if stands is None:
            yield {"customer_id": held["id"], "fault": "no such customer"}
        elif version > stands["version"]:
            yield {"customer_id": held["id"], "fault": f"version {version} was never given"}
        elif (
            version == stands["version"]
            and not stands["under_way"]
            and standing != stands["standing"]
        ):
            yield {"customer_id": held["id"], "fault": f"{standing}, is {stands['standing']}"}
