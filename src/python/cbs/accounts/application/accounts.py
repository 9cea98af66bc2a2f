"""What the accounts service can be asked to do. A change is begun here; its saga finishes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from cbs.accounts.application.book import Book
from cbs.accounts.domain.account import Account, NoSuchAccount
from cbs.accounts.domain.change import Change, Kind
from cbs.accounts.domain.freeze import Cause, Freeze, FreezeIsOver, Scope
from cbs.accounts.domain.holder import (
    AccountHolder,
    CustomerHasAccounts,
    HolderStanding,
    StandingIsOld,
)
from cbs.accounts.domain.product import NoSuchProduct, Product
from cbs.kernel.account_number import account_number
from cbs.kernel.calendar import business_date
from cbs.kernel.saga import Requester, Saga, SagaDefinition

FIRST = UUID(int=0)


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

    async def unended(self, *, customer_id: UUID, after: UUID, limit: int) -> list[Account]:
        """Those of `page` that are not closed."""
        ...

    async def lapsed(self, *, today: date, limit: int) -> list[tuple[UUID, UUID]]:
        """Accounts, with a freeze each whose last day is over and that still holds."""
        ...

    async def keep_holder(self, holder: AccountHolder) -> AccountHolder:
        """Keep it unless a newer is kept; the newest, locked until the transaction ends."""
        ...


class NewSagas(Protocol):
    async def begin(self, saga: Saga[Change]) -> None:
        """In the caller's transaction; who begins it should drive it at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    accounts: AccountStore
    products: ProductStore
    book: Book
    sagas: NewSagas
    definitions: Mapping[str, SagaDefinition[Change]]
    new_id: Callable[[], UUID]
    now: Callable[[], datetime]

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
        return await self._saga(Kind.OPEN, account, account, requester, "")

    async def freeze(
        self,
        *,
        account_id: UUID,
        scope: Scope,
        reason: str,
        authority: str | None,
        until: date | None,
        requester: Requester,
    ) -> Saga[Change]:
        if until is not None and until < business_date(self.now()):
            raise FreezeIsOver
        freeze = self._new_freeze(scope, reason, requester, authority=authority, until=until)
        return await self._begin(
            account_id, Kind.FREEZE, lambda account: account.freeze(freeze), requester, reason
        )

    async def unfreeze(
        self, *, account_id: UUID, freeze_id: UUID | None, reason: str, requester: Requester
    ) -> Saga[Change]:
        """None lifts the only freeze there is."""
        by, at = _who(requester), self.now()
        return await self._begin(
            account_id,
            Kind.UNFREEZE,
            lambda account: account.unfreeze(freeze_id, because=reason, by=by, at=at),
            requester,
            reason,
        )

    async def lapsed(self, *, limit: int) -> list[tuple[UUID, UUID]]:
        """Accounts, with a freeze each whose last day is over."""
        return await self.accounts.lapsed(today=business_date(self.now()), limit=limit)

    async def set_standing(self, holder: AccountHolder) -> AccountHolder:
        """The newest that is known of the customer; raises CustomerHasAccounts of who is closed."""
        newest = await self.accounts.keep_holder(holder)
        if newest.standing is HolderStanding.CLOSED and await self.accounts.unended(
            customer_id=holder.customer_id, after=FIRST, limit=1
        ):
            raise CustomerHasAccounts
        return newest

    async def follow_standing(
        self, *, account_id: UUID, holder: AccountHolder, requester: Requester
    ) -> Saga[Change]:
        """Freeze the account of who was suspended, or end that; raises StandingIsOld."""
        if await self.accounts.keep_holder(holder) != holder:
            raise StandingIsOld
        because = f"the customer is {holder.standing}"
        if holder.standing is HolderStanding.SUSPENDED:
            freeze = self._new_freeze(Scope.DEBITS, because, requester, cause=Cause.SUSPENSION)
            return await self._begin(
                account_id, Kind.FREEZE, lambda account: account.freeze(freeze), requester, because
            )
        by, at = _who(requester), self.now()
        return await self._begin(
            account_id,
            Kind.UNFREEZE,
            lambda account: account.end_suspension(because=because, by=by, at=at),
            requester,
            because,
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

    def _new_freeze(self, scope: Scope, reason: str, requester: Requester, **more: Any) -> Freeze:
        return Freeze(
            id=self.new_id(),
            scope=scope,
            reason=reason,
            placed_by=_who(requester),
            placed_at=self.now(),
            **more,
        )

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
        return await self._saga(kind, known[0], account, requester, reason)

    async def _saga(
        self, kind: Kind, former: Account, account: Account, requester: Requester, reason: str
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
                former=former.terms,
                reason=reason,
                freeze=next(iter(set(account.freezes) - set(former.freezes)), None),
            ),
            requester=requester,
        )
        await self.sagas.begin(saga)
        return saga


def _who(requester: Requester) -> str:
    return requester.on_behalf_of or requester.principal
