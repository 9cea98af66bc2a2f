"""Rows of the book as what they are in the domain, and back."""

from collections.abc import Sequence
from typing import Any

from piccolo.columns import Column

from cbs.kernel.money import Currency
from cbs.ledger.application.book import Posting
from cbs.ledger.domain.account import Account, AccountKind, Terms
from cbs.ledger.domain.transaction import PostedLeg, Transaction

ACCOUNT_COLUMNS = """number, kind, currency, floor_minor, ceiling_minor,
    limit_per_transaction_minor, limit_per_day_minor, debit_blocked, credit_blocked, closed,
    version, balance_minor, postings, debited_on, debited_minor"""


def account_of(row: Any) -> Account:
    return Account(
        number=row["number"],
        kind=AccountKind(row["kind"]),
        currency=Currency(row["currency"]),
        terms=Terms(
            floor_minor=row["floor_minor"],
            ceiling_minor=row["ceiling_minor"],
            limit_per_transaction_minor=row["limit_per_transaction_minor"],
            limit_per_day_minor=row["limit_per_day_minor"],
            debit_blocked=row["debit_blocked"],
            credit_blocked=row["credit_blocked"],
            closed=row["closed"],
            version=row["version"],
        ),
        balance_minor=row["balance_minor"],
        postings=row["postings"],
        debited_on=row["debited_on"],
        debited_minor=row["debited_minor"],
    )


def terms_of(account: Account) -> dict[Column | str, Any]:
    terms = account.terms
    return {
        "floor_minor": terms.floor_minor,
        "ceiling_minor": terms.ceiling_minor,
        "limit_per_transaction_minor": terms.limit_per_transaction_minor,
        "limit_per_day_minor": terms.limit_per_day_minor,
        "debit_blocked": terms.debit_blocked,
        "credit_blocked": terms.credit_blocked,
        "closed": terms.closed,
        "version": terms.version,
    }


def posting_of(row: Any) -> Posting:
    return Posting(
        seq=row["seq"],
        transaction_id=row["transaction_id"],
        kind=row["kind"],
        amount_minor=row["amount_minor"],
        balance_after_minor=row["balance_after_minor"],
        currency=Currency(row["currency"]),
        booked_on=row["booked_on"],
        value_on=row["value_on"],
        booked_at=row["booked_at"],
        narrative=row["narrative"],
    )


def transaction_of(row: Any, legs: Sequence[Any]) -> Transaction:
    return Transaction(
        id=row["id"],
        kind=row["kind"],
        currency=Currency(row["currency"]),
        booked_on=row["booked_on"],
        value_on=row["value_on"],
        booked_at=row["booked_at"],
        narrative=row["narrative"],
        actor=row["actor"],
        legs=[
            PostedLeg(
                account=leg["account"],
                amount_minor=leg["amount_minor"],
                balance_after_minor=leg["balance_after_minor"],
                seq=leg["seq"],
            )
            for leg in legs
        ],
    )
