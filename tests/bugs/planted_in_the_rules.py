"""Bugs planted in the rules of money: each is seen in the domain, in the book and by a caller."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg

from cbs.ledger.application.book import BatchAborted
from cbs.ledger.domain import transaction
from cbs.ledger.domain.account import Account
from tests.bugs.planting import Bug, Edit
from tests.ledger import refusals as ledger
from tests.ledger import test_rules as rules
from tests.payments import refusals as payments
from tests.refusals import RuleBook

Scenario = Callable[[Any], Awaitable[None]]


async def a_posting_is_decided(_: None) -> None:
    for change, code in rules.each_and_both(rules.RULES):
        rules.test_a_transfer_is_refused_in_this_order_whatever_the_order_of_its_legs(change, code)


async def cash_out_is_decided(_: None) -> None:
    rules.test_limits_bind_what_a_customer_pays_and_takes_out(transaction.CASH_WITHDRAWAL)


async def an_opening_is_decided(_: None) -> None:
    rules.test_an_account_is_opened_on_terms_that_an_empty_one_can_keep()


async def a_transfer_is_booked(book: Any) -> None:
    await rules.test_the_book_keeps_the_rules(book, transaction.TRANSFER)


async def cash_out_is_booked(book: Any) -> None:
    await rules.test_the_book_keeps_the_rules(book, transaction.CASH_WITHDRAWAL)


async def an_opening_is_booked(book: Any) -> None:
    await rules.test_the_book_opens_no_other_account(book)


def answered(book: RuleBook, operation: str) -> Scenario:
    async def scenario(world: Any) -> None:
        await book[operation].prove(world)

    scenario.__name__ = operation
    return scenario


POSTED = (
    ("ledger", answered(ledger.BOOK, "ledger.post")),
    ("ledger", answered(ledger.BOOK, "cbs.ledger.post")),
    ("both", answered(payments.BOOK, "payments.transfer")),
)
OPENED = (
    ("ledger", answered(ledger.BOOK, "ledger.open-account")),
    ("ledger", answered(ledger.BOOK, "cbs.ledger.open-account")),
)
CASH_OUT = (("both", answered(payments.BOOK, "payments.withdraw")),)


def bugs(
    name: str,
    edit: Edit,
    *,
    decided: Scenario,
    booked: Scenario,
    callers: tuple[tuple[str, Scenario], ...],
    book_says: type[BaseException] = AssertionError,
) -> list[Bug]:
    """`book_says` is the database's own net, if it has one."""
    bug = partial(Bug, edits=(edit,))
    return [
        bug(f"{name}: decided", "nobody", decided, "rule book in the domain"),
        bug(f"{name}: booked", "book", booked, "rule book in PostgreSQL", seen=book_says),
        *(
            bug(f"{name}: {answer.__name__}", stage, answer, "rule book of an operation")
            for stage, answer in callers
        ),
    ]


LIMITED = "if limited and self.kind is AccountKind.CUSTOMER:"
TOO_LITTLE = "if self.balance_minor - minor < 0:\n            raise InsufficientFunds"
PER_TRANSACTION = "if per_transaction is not None and minor > per_transaction:"
PER_DAY = "if per_day is not None and self.debited_minor_on(on) + minor > per_day:"
TWO_RULES = "{0}\n                raise {2}\n            {1}\n                raise {3}"
TRANSACTION_THEN_DAY = TWO_RULES.format(
    PER_TRANSACTION, PER_DAY, "LimitPerTransaction", "LimitPerDay"
)
DAY_THEN_TRANSACTION = TWO_RULES.format(
    PER_TRANSACTION, PER_DAY, "LimitPerDay", "LimitPerTransaction"
)

POSTING: dict[str, Any] = {
    "decided": a_posting_is_decided,
    "booked": a_transfer_is_booked,
    "callers": POSTED,
}
OPENING: dict[str, Any] = {
    "decided": an_opening_is_decided,
    "booked": an_opening_is_booked,
    "callers": OPENED,
}

RULES = [
    *bugs(
        "the ceiling is not checked",
        Edit(
            Account,
            "check",
            "self.balance_minor + amount_minor > most",
            "False",
        ),
        **POSTING,
        book_says=BatchAborted,
    ),
    *bugs(
        "a floor above nothing is not refused at opening",
        Edit(Account, "open", "terms.floor_minor > 0", "False"),
        **OPENING,
        book_says=asyncpg.CheckViolationError,
    ),
    *bugs(
        "a ceiling below nothing is not refused at opening",
        Edit(Account, "open", "terms.ceiling_minor < 0", "False"),
        **OPENING,
        book_says=asyncpg.CheckViolationError,
    ),
    *bugs(
        "two refusals are swapped",
        Edit(Account, "_check_debit", TRANSACTION_THEN_DAY, DAY_THEN_TRANSACTION),
        **POSTING,
    ),
    *bugs(
        "funds are looked at before limits",
        Edit(Account, "_check_debit", LIMITED, f"{TOO_LITTLE}\n        {LIMITED}"),
        **POSTING,
    ),
    *bugs(
        "of two refusals the later one is said",
        Edit(transaction, "_check", "POSTING_REFUSALS.index", "-POSTING_REFUSALS.index"),
        **POSTING,
    ),
    *bugs(
        "limits do not bind cash that is taken out",
        Edit(transaction, "LIMITED", "TRANSFER, CASH_WITHDRAWAL", "TRANSFER"),
        decided=cash_out_is_decided,
        booked=cash_out_is_booked,
        callers=CASH_OUT,
    ),
]
