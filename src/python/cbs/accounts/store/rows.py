"""Rows of this service as what they are in the domain, and back."""

from collections.abc import Sequence
from typing import Any

from cbs.accounts.domain.account import Account, State, Terms
from cbs.accounts.domain.freeze import Cause, Freeze, Scope, strictest
from cbs.accounts.domain.product import Product, ProductKind
from cbs.kernel.account_number import AccountNumber
from cbs.kernel.money import Currency

Values = dict[Any, Any]


def product_of(row: Any) -> Product:
    kind, currency = ProductKind(row["kind"]), Currency(row["currency"])
    return Product(**{**row, "kind": kind, "currency": currency})


def account_of(row: Any, freezes: Sequence[Freeze]) -> Account:
    frozen = Scope(row["frozen"]) if row["frozen"] else None
    if frozen is not None and frozen is not strictest(freezes):
        # Placed by a release that kept no freezes.
        freezes = (*freezes, _unrecorded(row, frozen))
    return Account(
        id=row["id"],
        number=AccountNumber(row["number"]),
        branch=row["branch"],
        customer_id=row["customer_id"],
        product=row["product"],
        currency=Currency(row["currency"]),
        terms=Terms(
            overdraft_minor=row["overdraft_minor"],
            limit_per_transaction_minor=row["limit_per_transaction_minor"],
            limit_per_day_minor=row["limit_per_day_minor"],
            frozen=frozen,
        ),
        state=State(row["state"]),
        version=row["version"],
        acknowledged=row["acknowledged"],
        awaiting_ledger=row["contingent"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        freezes=tuple(freezes),
    )


def freeze_of(row: Any) -> Freeze:
    values = {name: value for name, value in row.items() if name != "account_id"}
    return Freeze(**{**values, "scope": Scope(row["scope"]), "cause": Cause(row["cause"])})


def _unrecorded(row: Any, scope: Scope) -> Freeze:
    """Of an account whose release did not keep who froze it: its audit log knows."""
    return Freeze(
        id=row["id"],
        scope=scope,
        reason="placed before freezes were kept apart",
        placed_by="unknown",
        placed_at=row["opened_at"],
    )


def values_of(account: Account) -> Values:
    """What of an account changes."""
    terms = account.terms
    return {
        "state": account.state.value,
        "overdraft_minor": terms.overdraft_minor,
        "limit_per_transaction_minor": terms.limit_per_transaction_minor,
        "limit_per_day_minor": terms.limit_per_day_minor,
        "frozen": terms.frozen and terms.frozen.value,
        "version": account.version,
        "acknowledged": account.acknowledged,
        "contingent": account.awaiting_ledger,
        "opened_at": account.opened_at,
        "closed_at": account.closed_at,
    }
