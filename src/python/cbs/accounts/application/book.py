"""The ledger, as far as accounts needs it, and the statements that are read from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from cbs.accounts.domain.account import Account, NoSuchAccount, State

HISTORY_PAGE_MAX, SCANNED_PAGES_MAX = 200, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of a statement, as the ledger has it."""

    seq: int
    transaction_id: UUID
    kind: str
    amount_minor: int
    balance_after_minor: int
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole days, both included, by booking or by value date; None is without end."""

    since: date | None = None
    until: date | None = None
    by_value: bool = False

    def has(self, posting: Posting) -> bool:
        day = posting.value_on if self.by_value else posting.booked_on
        return (self.since is None or day >= self.since) and (
            self.until is None or day <= self.until
        )

    def is_over_at(self, posting: Posting) -> bool:
        """Nothing older can be in it: a value date is never after its booking date."""
        return self.since is not None and posting.booked_on < self.since


class Book(Protocol):
    """The ledger, as far as this service needs it. Raises Unavailable when it cannot be asked."""

    async def open(self, account: Account) -> None:
        """Open it in the book on its terms; again, it is open already. Raises what the ledger
        refuses. When this returns, the terms bind every posting that is asked for from now on."""
        ...

    async def change_terms(self, account: Account) -> None:
        """As `open`, of an account that the book has; older terms than it holds change nothing."""
        ...

    async def balances(self, numbers: Sequence[str]) -> Mapping[str, int]:
        """Minor units by number; numbers that the ledger does not know are left out."""
        ...

    async def history(
        self, number: str, *, before: int | None, limit: int, period: Period
    ) -> list[Posting]:
        """Newest first, with a `seq` below `before`. A ledger of before it was asked for a period
        gives all."""
        ...


class KnownAccounts(Protocol):
    async def get(self, account_id: UUID) -> Account | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`before` is the `seq` to go on from; None at the end."""

    account: Account
    postings: Sequence[Posting]
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    accounts: KnownAccounts
    book: Book

    async def page(
        self, *, account_id: UUID, period: Period, before: int | None, limit: int
    ) -> Statement:
        """A page of it, newest first. Of a ledger that knows no periods, one far back may come as
        empty pages: a page looks at no more than SCANNED_PAGES_MAX of the ledger's."""
        account = await self.accounts.get(account_id)
        if account is None:
            raise NoSuchAccount
        found: list[Posting] = []
        if account.state in (State.OPENING, State.REFUSED):
            return Statement(account=account, postings=found, before=None)
        for _ in range(SCANNED_PAGES_MAX):
            scanned = await self.book.history(
                account.number, before=before, limit=HISTORY_PAGE_MAX, period=period
            )
            for posting in scanned:
                if period.is_over_at(posting):
                    return Statement(account=account, postings=found, before=None)
                before = posting.seq
                if period.has(posting):
                    found.append(posting)
                    if len(found) == limit:
                        return Statement(account=account, postings=found, before=_next(before))
            if len(scanned) < HISTORY_PAGE_MAX:
                return Statement(account=account, postings=found, before=None)
        return Statement(account=account, postings=found, before=_next(before))


def _next(before: int | None) -> int | None:
    """Postings are numbered from 1: before the first there is nothing."""
    return None if before == 1 else before
