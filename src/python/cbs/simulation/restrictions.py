"""A freeze or a suspension holds from its answer until somebody asks for its end."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cbs.platform.memory.database import MemoryServer
from cbs.simulation.bank import Bank
from cbs.simulation.callers import Asked


class Violated(AssertionError):
    """The bank broke a promise; the message says which."""


def check(promise: str, holds: bool, *evidence: object) -> None:
    if not holds:
        raise Violated(f"{promise}: {', '.join(repr(each)[:300] for each in evidence)}")


def restrictions_hold(
    servers: Mapping[str, MemoryServer], asked: Sequence[Asked], bank: Bank
) -> None:
    debits = _debits(servers["ledger"], bank)
    _frozen(debits, asked)
    _suspended(debits, asked, servers["accounts"])


Debits = dict[str, list[tuple[float, Any]]]


def _debits(ledger: MemoryServer, bank: Bank) -> Debits:
    """Of each account, with the time of each."""
    debits: Debits = {}
    for (number, _), posting in ledger.rows("posting").items():
        if posting.amount_minor < 0:
            at = (posting.booked_at - bank.began).total_seconds()
            debits.setdefault(number, []).append((at, posting))
    return debits


def _suspended(debits: Debits, asked: Sequence[Asked], accounts: MemoryServer) -> None:
    """Nothing leaves an account from a suspension's answer until somebody asks for its end."""
    numbers: dict[str, list[str]] = {}
    for account in accounts.rows("account").values():
        numbers.setdefault(str(account.customer_id), []).append(account.number)
    for suspension in asked:
        if not (suspension.accepted and suspension.path.endswith("/suspend")):
            continue
        ends = [
            each.asked_at
            for each in asked
            if each.about == suspension.about
            and each.path.endswith("/reinstate")
            and each.answered_at > suspension.asked_at
        ]
        until = min(ends, default=float("inf"))
        for number in numbers.get(suspension.about, []):
            for at, posting in debits.get(number, []):
                check(
                    "a suspension holds from its answer",
                    not suspension.answered_at < at < until,
                    suspension,
                    posting,
                    at,
                )


def _frozen(debits: Debits, asked: Sequence[Asked]) -> None:
    """A freeze holds from its answer until somebody asks for its end."""
    for freeze in asked:
        if not (freeze.accepted and freeze.path.endswith("/freeze")):
            continue
        ends = [
            each.asked_at
            for each in asked
            if each.about == freeze.about
            and each.path.endswith("/unfreeze")
            and _lifts(each, freeze.said()["freeze_id"])
            and each.answered_at > freeze.asked_at
        ]
        until = min(ends, default=float("inf"))
        for at, posting in debits.get(freeze.about, []):
            check(
                "a freeze holds from its answer",
                not freeze.answered_at < at < until,
                freeze,
                posting,
                at,
            )


def _lifts(unfreeze: Asked, freeze_id: str) -> bool:
    named = msgspec.json.decode(unfreeze.body, type=dict[str, Any]).get("freeze_id", freeze_id)
    return bool(named == freeze_id)
