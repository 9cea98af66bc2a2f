"""A bank's history in the columns of the PKDD'99 data set, read as far as it can be believed.

The data set is published in two wordings of the same codes, English and Czech; both are read.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from cbs.kernel.money import Currency, minor_units
from cbs.tools.lab.demo.csv_lines import lines

CENTURY = 1900
WOMENS_MONTHS_FROM = 50
CASH, CLEARING, INTEREST = "CZK-CASH", "CZK-CLEARING", "CZK-INTEREST"
FEES, SUSPENSE = "CZK-FEES", "CZK-SUSPENSE"

CREDIT = frozenset({"credit", "PRIJEM"})
DEBIT = frozenset({"withdrawal", "VYDAJ", "withdrawal in cash", "VYBER"})
OWNER = "OWNER"

COLUMNS = {
    "account.csv": ("account_id", "date"),
    "client.csv": ("client_id", "birth_number", "district_id"),
    "disp.csv": ("client_id", "account_id", "type"),
    "trans.csv": (
        *("trans_id", "account_id", "date", "type", "operation", "amount", "balance"),
        *("k_symbol", "bank", "account"),
    ),
}


class BadLine(Exception):
    """Why a line is left out."""


class Bad(msgspec.Struct, frozen=True):
    file: str
    line: int
    reason: str


class Purpose(NamedTuple):
    """The kind of a posting and the bank's own account on its other side."""

    kind: str
    counter_account: str


UNKNOWN = Purpose("unclassified", SUSPENSE)
# What an entry is for says more than how it was made: fees were taken "in cash".
BY_SYMBOL = {
    "interest credited": Purpose("interest", INTEREST),
    "UROK": Purpose("interest", INTEREST),
    "payment for statement": Purpose("fee", FEES),
    "SLUZBY": Purpose("fee", FEES),
    "sanction interest if negative balance": Purpose("sanction-interest", FEES),
    "SANKC. UROK": Purpose("sanction-interest", FEES),
}
BY_OPERATION = {
    "credit in cash": Purpose("cash-deposit", CASH),
    "VKLAD": Purpose("cash-deposit", CASH),
    "withdrawal in cash": Purpose("cash-withdrawal", CASH),
    "VYBER": Purpose("cash-withdrawal", CASH),
    "collection from another bank": Purpose("collection", CLEARING),
    "PREVOD Z UCTU": Purpose("collection", CLEARING),
    "remittance to another bank": Purpose("remittance", CLEARING),
    "PREVOD NA UCET": Purpose("remittance", CLEARING),
    "credit card withdrawal": Purpose("card-withdrawal", CLEARING),
    "VYBER KARTOU": Purpose("card-withdrawal", CLEARING),
}
CREDITS, DEBITS = {"cash-deposit", "collection"}, {"cash-withdrawal", "remittance"}


class Birth(NamedTuple):
    on: date
    is_woman: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricEntry:
    """One line of trans.csv: a positive amount credits, `balance_minor` is what it led to."""

    id: int
    account_id: int
    on: date
    amount_minor: int
    balance_minor: int
    purpose: Purpose
    narrative: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    client_id: int
    birth: Birth
    district: str


@dataclass(slots=True, kw_only=True)
class HistoricAccount:
    id: int
    owner: Owner
    entries: list[HistoricEntry] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class BankHistory:
    accounts: dict[int, HistoricAccount] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)

    @property
    def transactions(self) -> int:
        return sum(len(account.entries) for account in self.accounts.values())


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Takes the files in the order in which each needs what those before it said."""

    history: BankHistory = field(default_factory=BankHistory)
    owners: dict[int, Owner] = field(default_factory=dict)
    owned_by: dict[int, int] = field(default_factory=dict)
    posted: set[int] = field(default_factory=set)

    def client(self, line: dict[str, str]) -> None:
        number = _id(line, "client_id")
        _once(number, self.owners, "client_id")
        self.owners[number] = Owner(
            client_id=number,
            birth=birth_of(line["birth_number"]),
            district=line["district_id"] or "unknown",
        )

    def disposition(self, line: dict[str, str]) -> None:
        if line["type"] != OWNER:
            return
        account_id, client_id = _id(line, "account_id"), _id(line, "client_id")
        if client_id not in self.owners:
            raise BadLine(f"unknown client {client_id}")
        _once(account_id, self.owned_by, "owner of account")
        self.owned_by[account_id] = client_id

    def account(self, line: dict[str, str]) -> None:
        number = _id(line, "account_id")
        _once(number, self.history.accounts, "account_id")
        day_of(line["date"])
        if number not in self.owned_by:
            raise BadLine(f"account {number} has no owner")
        owner = self.owners[self.owned_by[number]]
        self.history.accounts[number] = HistoricAccount(id=number, owner=owner)

    def transaction(self, line: dict[str, str]) -> None:
        entry = entry_of(line)
        if entry.account_id not in self.history.accounts:
            raise BadLine(f"unknown account {entry.account_id}")
        _once(entry.id, self.posted, "trans_id")
        self.posted.add(entry.id)
        self.history.accounts[entry.account_id].entries.append(entry)


def read_history(folder: Path, encoding: str = "utf-8") -> BankHistory:
    """Raises Unusable; a line that cannot be used is in `bad`, and the others count."""
    reader = _Reader()
    take: dict[str, Callable[[dict[str, str]], None]] = {
        "client.csv": reader.client,
        "disp.csv": reader.disposition,
        "account.csv": reader.account,
        "trans.csv": reader.transaction,
    }
    for name, taken in take.items():
        for number, line in lines(folder / name, COLUMNS[name], encoding):
            try:
                if isinstance(line, str):
                    raise BadLine(line)
                taken(line)
            except BadLine as error:
                reader.history.bad.append(Bad(name, number, str(error)))
    return reader.history


def _id(line: dict[str, str], name: str) -> int:
    text = line[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadLine(f"{name} is not a number: {text!r}")
    return int(text)


def _once(number: int, known: Container[int], what: str) -> None:
    if number in known:
        raise BadLine(f"duplicate {what} {number}")


def day_of(text: str) -> date:
    """YYMMDD of the last century; raises BadLine."""
    if len(text) == 6 and text.isascii() and text.isdigit():
        try:
            return date(CENTURY + int(text[:2]), int(text[2:4]), int(text[4:]))
        except ValueError:
            pass  # the thirtieth of February: said below
    raise BadLine(f"not a date (YYMMDD): {text!r}")


def birth_of(birth_number: str) -> Birth:
    """YYMMDD, with 50 added to the month of a woman's; raises BadLine."""
    month = birth_number[2:4]
    is_woman = month.isascii() and month.isdigit() and int(month) > WOMENS_MONTHS_FROM
    if is_woman:
        month = f"{int(month) - WOMENS_MONTHS_FROM:02}"
    try:
        return Birth(day_of(birth_number[:2] + month + birth_number[4:]), is_woman)
    except BadLine:
        raise BadLine(f"not a birth_number: {birth_number!r}") from None


def entry_of(line: dict[str, str]) -> HistoricEntry:
    """Raises BadLine."""
    if line["type"] not in CREDIT | DEBIT:
        raise BadLine(f"unknown type {line['type']!r}")
    amount = _minor(line, "amount")
    if amount < 0:
        raise BadLine(f"amount is below zero: {line['amount']!r}")
    is_credit = line["type"] in CREDIT
    return HistoricEntry(
        id=_id(line, "trans_id"),
        account_id=_id(line, "account_id"),
        on=day_of(line["date"]),
        amount_minor=amount if is_credit else -amount,
        balance_minor=_minor(line, "balance"),
        purpose=purpose_of(line["k_symbol"], line["operation"], is_credit=is_credit),
        narrative=_narrative(line),
    )


def purpose_of(k_symbol: str, operation: str, *, is_credit: bool) -> Purpose:
    """What is not known, or goes the wrong way for its name, is for somebody to look at."""
    found = BY_SYMBOL.get(k_symbol) or BY_OPERATION.get(operation, UNKNOWN)
    wrong = DEBITS if is_credit else CREDITS
    return UNKNOWN if found.kind in wrong else found


def _minor(line: dict[str, str], name: str) -> int:
    try:
        return minor_units(line[name], Currency.CZK)
    except ValueError as error:
        raise BadLine(f"{name}: {error}") from None


def _narrative(line: dict[str, str]) -> str:
    said = [line["operation"], line["k_symbol"]]
    if line["bank"]:
        said.append(f"{line['bank']} {line['account']}".strip())
    return ", ".join(part for part in said if part)[:140]
