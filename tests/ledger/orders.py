"""Orders and accounts in a few words."""

import hashlib
from collections.abc import Sequence
from datetime import date
from uuid import uuid4

from cbs.kernel.event import Origin
from cbs.kernel.money import Currency
from cbs.ledger.bus.endpoints import LegWanted, Post
from cbs.ledger.domain.transaction import Order


def order(
    payer: str,
    payee: str,
    amount_minor: int,
    *,
    key: str = "",
    kind: str = "transfer",
    principal: str = "tara",
    currency: Currency = Currency.INR,
    value_on: date | None = None,
    may_backdate: bool = False,
    may_import: bool = False,
    narrative: str = "",
) -> Order:
    return order_of(
        [(payer, -amount_minor), (payee, amount_minor)],
        key=key,
        kind=kind,
        principal=principal,
        currency=currency,
        value_on=value_on,
        may_backdate=may_backdate,
        may_import=may_import,
        narrative=narrative,
    )


def order_of(
    legs: Sequence[tuple[str, int]],
    *,
    key: str = "",
    kind: str = "transfer",
    principal: str = "tara",
    currency: Currency = Currency.INR,
    value_on: date | None = None,
    may_backdate: bool = False,
    may_import: bool = False,
    narrative: str = "",
) -> Order:
    """Legs are accounts and amounts."""
    wanted = Post(
        kind=kind,
        currency=currency,
        legs=[LegWanted(account=account, amount_minor=minor) for account, minor in legs],
        value_on=value_on,
        narrative=narrative,
    )
    return Order(
        principal=principal,
        key=key or uuid4().hex,
        fingerprint=hashlib.sha256(repr(wanted).encode()).digest(),
        wanted=wanted,
        may_backdate=may_backdate,
        may_import=may_import,
        origin=Origin(actor=principal, correlation_id="c1"),
    )
