"""Rows of this service as what they are in the domain, and back."""

from typing import Any

import msgspec

from cbs.accounts.domain.account import Account, Scope, State, Terms
from cbs.accounts.domain.change import Asker, Change, Kind, Step
from cbs.accounts.domain.product import Product, ProductKind
from cbs.kernel.account_number import AccountNumber
from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency

Values = dict[Any, Any]


def product_of(row: Any) -> Product:
    kind, currency = ProductKind(row["kind"]), Currency(row["currency"])
    return Product(**{**row, "kind": kind, "currency": currency})


def account_of(row: Any) -> Account:
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
            frozen=Scope(row["frozen"]) if row["frozen"] else None,
        ),
        state=State(row["state"]),
        version=row["version"],
        acknowledged=row["acknowledged"],
        contingent=row["contingent"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
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
        "contingent": account.contingent,
        "opened_at": account.opened_at,
        "closed_at": account.closed_at,
    }


def change_of(row: Any) -> Change:
    return Change(
        id=row["id"],
        account_id=row["account_id"],
        kind=Kind(row["kind"]),
        step=Step(row["step"]),
        version=row["version"],
        terms=msgspec.json.decode(row["terms"], type=Terms),
        former=msgspec.json.decode(row["former"], type=Terms),
        asker=Asker(
            principal=row["principal"],
            key=row["key"],
            on_behalf_of=row["on_behalf_of"],
            correlation_id=row["correlation_id"],
        ),
        reason=row["reason"],
        refusal=Answer(status=row["refusal_status"], body=row["refusal_body"])
        if row["refusal_body"]
        else None,
        tries=row["tries"],
    )


def begun_values(change: Change) -> Values:
    """What of a change is written when it begins."""
    return {
        "id": change.id,
        "account_id": change.account_id,
        "kind": change.kind.value,
        "step": change.step.value,
        "version": change.version,
        "terms": msgspec.json.encode(change.terms).decode(),
        "former": msgspec.json.encode(change.former).decode(),
        "principal": change.asker.principal,
        "key": change.asker.key,
        "on_behalf_of": change.asker.on_behalf_of,
        "correlation_id": change.asker.correlation_id,
        "reason": change.reason,
    }
