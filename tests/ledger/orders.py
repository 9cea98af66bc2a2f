"""Orders and accounts in a few words."""

import hashlib
from datetime import date
from uuid import uuid4

from cbs.kernel.event import Origin
from cbs.kernel.money import Currency
from cbs.ledger.domain.transaction import Leg, Order


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
) -> Order:
    legs = [
        Leg(account=payer, amount_minor=-amount_minor),
        Leg(account=payee, amount_minor=amount_minor),
    ]
    return Order(
        principal=principal,
        key=key or uuid4().hex,
        fingerprint=hashlib.sha256(repr((kind, legs, value_on)).encode()).digest(),
        kind=kind,
        currency=currency,
        legs=legs,
        value_on=value_on,
        narrative="",
        may_backdate=may_backdate,
        origin=Origin(actor=principal, correlation_id="c1"),
    )
