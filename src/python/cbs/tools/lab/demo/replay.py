"""An old bank's history goes through the public API, and our balances are held against its own.

After each step our ledger's balance and the old bank's roundings so far are the old balance, to
the last heller. The roundings are read from the old book alone, so they cannot hide our mistakes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate
from typing import Any

import msgspec

from cbs.tools.lab.demo.history import (
    CASH,
    CLEARING,
    FEES,
    INTEREST,
    SUSPENSE,
    Bad,
    BankHistory,
    HistoricAccount,
    HistoricEntry,
    Owner,
)
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.statement_order import in_statement_order, roundings
from cbs.tools.lab.demo.workers import each
from cbs.tools.local.public_api import PublicApi, RefusedByBank

PRODUCT, CURRENCY = "HISTORY-CZK", "CZK"
OVERDRAFT_MINOR_MAX, OVERDRAFT_STEP_MINOR = 1_000_000_000, 10_000_000
ACCOUNTS_AT_ONCE = 48
DIFFERENCES_KEPT_MAX = 1_000
REFUSES_ONE = frozenset({400, 404, 409})


class Difference(msgspec.Struct, kw_only=True):
    """A step after which the books do not agree, or that our bank refused (`why`)."""

    account_id: int
    trans_id: int | None
    on: date | None
    ours_minor: int
    roundings_minor: int
    theirs_minor: int
    why: str


class LegView(msgspec.Struct):
    account: str
    balance_after_minor: int


class TransactionView(msgspec.Struct):
    legs: list[LegView]


class PostedView(msgspec.Struct):
    transaction: TransactionView


class Unchained(msgspec.Struct):
    account_id: int
    on: date


class ReplayReport(msgspec.Struct, kw_only=True):
    """`differences_kept` are the first DIFFERENCES_KEPT_MAX; a bad line is not a difference.

    `unmoved` are transactions of no amount: the balances agree, and there is nothing to post.
    """

    accounts: int = 0
    transactions: int = 0
    unmoved: int = 0
    roundings: int = 0
    roundings_sum_minor: int = 0
    differences: int = 0
    differences_kept: list[Difference] = []
    unchained: list[Unchained] = []
    bad: list[Bad] = []


@dataclass(slots=True, kw_only=True)
class Replay:
    """`bank` names the old bank and is part of every key: two banks may use the same numbers."""

    api: PublicApi
    bank: str
    advance: Callable[[], None]
    report: ReplayReport = field(default_factory=ReplayReport)

    async def __call__(self, history: BankHistory) -> ReplayReport:
        self.report.bad = history.bad
        await self._prepare()
        # The longest first, for an account's steps go one after the other.
        accounts = sorted(history.accounts.values(), key=lambda account: -len(account.entries))
        await each(accounts, self._account, at_once=ACCOUNTS_AT_ONCE)
        self.report.unchained.sort(key=lambda day: (day.account_id, day.on))
        return self.report

    async def _prepare(self) -> None:
        for number in (CASH, CLEARING, INTEREST, FEES, SUSPENSE):
            name = number.removeprefix(f"{CURRENCY}-")
            await self._unless_there("/v1/ledger/accounts", {"name": name, "currency": CURRENCY})
        product = {
            "code": PRODUCT,
            "name": "Account with a history at another bank",
            "kind": "current",
            "currency": CURRENCY,
            "overdraft_max_minor": OVERDRAFT_MINOR_MAX,
        }
        await self._unless_there("/v1/accounts/products", product)

    async def _unless_there(self, path: str, wanted: dict[str, Any]) -> None:
        key = f"history-{wanted.get('code') or wanted['name']}"
        try:
            await self.api.post(path, wanted, msgspec.Raw, key=key)
        except RefusedByBank as refusal:
            if refusal.code not in ("number-taken", "product-known"):
                raise

    async def _account(self, account: HistoricAccount) -> None:
        chain = in_statement_order(account.entries)
        self.report.unchained += [Unchained(account.id, on) for on in chain.broken]
        try:
            number = await self._opened(account, chain.entries)
        except RefusedByBank as refusal:
            _only_this_one(refusal)
            self._differs(account.id, None, 0, 0, str(refusal))
            for _ in chain.entries:
                self.advance()
            return
        self.report.accounts += 1
        ours = rounded = 0
        for entry, rounding in zip(chain.entries, roundings(chain.entries), strict=True):
            if rounding:
                rounded += rounding
                self.report.roundings += 1
                self.report.roundings_sum_minor += rounding
            try:
                ours = await self._posted(number, entry, ours)
            except RefusedByBank as refusal:
                _only_this_one(refusal)
                self._differs(account.id, entry, ours, rounded, str(refusal))
            else:
                self.report.transactions += entry.amount_minor != 0
                self.report.unmoved += entry.amount_minor == 0
                if ours + rounded != entry.balance_minor:
                    self._differs(account.id, entry, ours, rounded, "")
            self.advance()

    def _key(self, rest: str) -> str:
        return f"history-{self.bank}-{rest}"

    async def _opened(self, account: HistoricAccount, entries: list[HistoricEntry]) -> str:
        return await account_of(
            self.api,
            registration(account.owner, bank=self.bank),
            product=PRODUCT,
            key=self._key(f"a{account.id}"),
            overdraft_minor=overdraft(entries),
        )

    async def _posted(self, number: str, entry: HistoricEntry, balance_minor: int) -> int:
        """Our balance after the entry; one of no amount moves nothing and is not posted."""
        if entry.amount_minor == 0:
            return balance_minor
        counter = {"account": entry.purpose.counter_account, "amount_minor": -entry.amount_minor}
        wanted = {
            "kind": entry.purpose.kind,
            "currency": CURRENCY,
            "value_on": entry.on,
            "narrative": entry.narrative,
            "legs": [{"account": number, "amount_minor": entry.amount_minor}, counter],
        }
        key = self._key(f"t{entry.id}")
        posted = await self.api.post("/v1/ledger/transactions", wanted, PostedView, key=key)
        return next(
            leg.balance_after_minor for leg in posted.transaction.legs if leg.account == number
        )

    def _differs(
        self, account_id: int, entry: HistoricEntry | None, ours: int, rounded: int, why: str
    ) -> None:
        self.report.differences += 1
        if len(self.report.differences_kept) < DIFFERENCES_KEPT_MAX:
            self.report.differences_kept.append(
                Difference(
                    account_id=account_id,
                    trans_id=entry.id if entry else None,
                    on=entry.on if entry else None,
                    ours_minor=ours,
                    roundings_minor=rounded,
                    theirs_minor=entry.balance_minor if entry else 0,
                    why=why,
                )
            )


def _only_this_one(refusal: RefusedByBank) -> None:
    """A no to one line or account leaves the others to be replayed; any other no is to all."""
    if refusal.status not in REFUSES_ONE:
        raise refusal


def registration(owner: Owner, *, bank: str) -> dict[str, Any]:
    """What the data set says of an owner; it has no names."""
    district = f"District {owner.district}"
    return {
        "given_name": f"Client {owner.client_id}",
        "date_of_birth": owner.birth.on,
        "address": {"lines": [district], "city": district, "country": "CZ"},
        "documents": [
            {"type": "foreign-client-number", "issuer": bank, "number": str(owner.client_id)}
        ],
    }


def overdraft(entries: list[HistoricEntry]) -> int:
    """The overdraft the account lived with: its lowest balance, rounded up to whole steps.

    One step at least, so that a history that went on seldom asks for another account.
    """
    lowest = min(accumulate(entry.amount_minor for entry in entries), default=0)
    return max(-(lowest // OVERDRAFT_STEP_MINOR), 1) * OVERDRAFT_STEP_MINOR
