"""What the accounts service can be asked to do. A change is begun here; its saga finishes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from cbs.accounts.domain.account import Account, NoSuchAccount, Scope, State, Terms
from cbs.accounts.domain.change import Change, Kind
from cbs.accounts.domain.product import NoSuchProduct, Product
from cbs.kernel.account_number import account_number
from cbs.kernel.saga import Requester, Saga, SagaDefinition

HISTORY_PAGE_MAX, SCANNED_PAGES_MAX = 200, 5


class ProductStore(Protocol):
    async def add(self, product: Product) -> None:
        """With its fact, in the caller's transaction; raises ProductKnown, whoever races."""
        ...

    async def get(self, code: str) -> Product | None: ...
    async def page(self, *, after: str, limit: int) -> list[Product]: ...


class AccountStore(Protocol):
    async def next_serial(self) -> int:
        """Of the next account number; never given twice, not even after a rollback."""
        ...

    async def add(self, account: Account) -> None:
        """Keep a new account, in the caller's transaction."""
        ...

    async def update(
        self, account_id: UUID, change: Callable[[Account], Account]
    ) -> Account | None:
        """Change the locked account, in the caller's transaction; None: there is none."""
        ...

    async def get(self, account_id: UUID) -> Account | None: ...
    async def by_number(self, number: str) -> Account | None: ...

    async def page(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        """A customer's accounts in the order of ids, without those that were never opened."""
        ...


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


class NewSagas(Protocol):
    async def begin(self, saga: Saga[Change]) -> None:
        """In the caller's transaction; who begins it should drive it at once."""
        ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`before` is the `seq` to go on from; None at the end."""

    account: Account
    postings: Sequence[Posting]
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    accounts: AccountStore
    products: ProductStore
    book: Book
    sagas: NewSagas
    definitions: Mapping[str, SagaDefinition[Change]]
    new_id: Callable[[], UUID]

    async def add_product(self, product: Product) -> Product:
        await self.products.add(product)
        return product

    async def open(
        self,
        *,
        customer_id: UUID,
        product: str,
        branch: int,
        overdraft_minor: int | None,
        requester: Requester,
    ) -> Saga[Change]:
        found = await self.products.get(product)
        if found is None:
            raise NoSuchProduct
        account = Account.opening(
            id=self.new_id(),
            number=account_number(branch=branch, serial=await self.accounts.next_serial()),
            branch=branch,
            customer_id=customer_id,
            product=found,
            overdraft_minor=overdraft_minor,
        )
        await self.accounts.add(account)
        return await self._saga(Kind.OPEN, account.terms, account, requester, "")

    async def freeze(
        self, *, account_id: UUID, scope: Scope, reason: str, requester: Requester
    ) -> Saga[Change]:
        return await self._begin(
            account_id, Kind.FREEZE, lambda account: account.freeze(scope), requester, reason
        )

    async def unfreeze(
        self, *, account_id: UUID, reason: str, requester: Requester
    ) -> Saga[Change]:
        return await self._begin(
            account_id, Kind.UNFREEZE, lambda account: account.unfreeze(), requester, reason
        )

    async def limit(
        self,
        *,
        account_id: UUID,
        per_transaction_minor: int | None,
        per_day_minor: int | None,
        overdraft_minor: int | None,
        requester: Requester,
    ) -> Saga[Change]:
        """None leaves the overdraft as it is, and lifts the limits."""
        product = await self.products.get((await self.get(account_id)).product)
        assert product is not None, "products are never deleted"

        def limited(account: Account) -> Account:
            return account.limit(
                per_transaction_minor=per_transaction_minor,
                per_day_minor=per_day_minor,
                overdraft_minor=account.terms.overdraft_minor
                if overdraft_minor is None
                else product.overdraft(overdraft_minor),
            )

        return await self._begin(account_id, Kind.LIMITS, limited, requester, "")

    async def close(self, *, account_id: UUID, reason: str, requester: Requester) -> Saga[Change]:
        return await self._begin(
            account_id, Kind.CLOSE, lambda account: account.close(), requester, reason
        )

    async def get(self, account_id: UUID) -> Account:
        account = await self.accounts.get(account_id)
        if account is None:
            raise NoSuchAccount
        return account

    async def by_number(self, number: str) -> Account:
        account = await self.accounts.by_number(number)
        if account is None:
            raise NoSuchAccount
        return account

    async def statement(
        self, *, account_id: UUID, period: Period, before: int | None, limit: int
    ) -> Statement:
        """A page of it, newest first. Of a ledger that knows no periods, one far back may come as
        empty pages: a page looks at no more than SCANNED_PAGES_MAX of the ledger's."""
        account = await self.get(account_id)
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

    async def _begin(
        self,
        account_id: UUID,
        kind: Kind,
        act: Callable[[Account], Account],
        requester: Requester,
        reason: str,
    ) -> Saga[Change]:
        known: list[Account] = []

        def change(account: Account) -> Account:
            known.append(account)
            return act(account)

        account = await self.accounts.update(account_id, change)
        if account is None:
            raise NoSuchAccount
        return await self._saga(kind, known[0].terms, account, requester, reason)

    async def _saga(
        self, kind: Kind, former: Terms, account: Account, requester: Requester, reason: str
    ) -> Saga[Change]:
        saga = Saga(
            id=self.new_id(),
            kind=kind.value,
            step=self.definitions[kind].first,
            data=Change(
                account_id=account.id,
                kind=kind,
                version=account.version,
                terms=account.terms,
                former=former,
                reason=reason,
            ),
            requester=requester,
        )
        await self.sagas.begin(saga)
        return saga


def _next(before: int | None) -> int | None:
    """Postings are numbered from 1: before the first there is nothing."""
    return None if before == 1 else before
