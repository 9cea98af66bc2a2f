"""What every store of accounts promises, in memory and in PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from operator import methodcaller
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from cbs.accounts.application.accounts import AccountStore, ProductStore
from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.freeze import Cause, Scope
from cbs.accounts.domain.holder import AccountHolder, HolderStanding
from cbs.accounts.domain.product import ProductKnown
from cbs.accounts.main import in_postgres
from cbs.accounts.memory import in_memory
from cbs.accounts.service import DECLARATION
from cbs.kernel.account_number import account_number
from cbs.platform.context import new_id
from cbs.platform.outbox import fact_of
from tests.accounts.fakes import CURRENT, NOON, a_freeze, account
from tests.stores import BOTH, made_on, runtime_on, url_of

CUSTOMER = UUID(int=7)


@dataclass
class Stores:
    """`said` gives the facts so far."""

    accounts: AccountStore
    products: ProductStore
    transaction: Callable[[], Any]
    said: Callable[[], Any]

    async def add(self, **changed: Any) -> Account:
        async with self.transaction():
            serial = await self.accounts.next_serial()
        id, number = new_id(), account_number(branch=1, serial=serial)
        opened = account(id=id, number=number, **changed)
        async with self.transaction():
            await self.accounts.add(opened)
        return opened


@asynccontextmanager
async def stores_on(url: str | None) -> AsyncIterator[Stores]:
    async with runtime_on(DECLARATION, url) as runtime:
        kept = made_on(runtime, in_memory, in_postgres)

        async def said() -> list[str]:
            return [fact_of(body).name for _, _, body in await runtime.outbox.after(0, limit=99)]

        yield Stores(kept.accounts, kept.products, runtime.database.transaction, said)


@pytest.fixture(params=BOTH)
async def stores(request):
    async with stores_on(url_of(request, "accounts")) as stores:
        yield stores


async def test_a_product_is_kept_once_and_listed_by_code(stores: Stores):
    gold = replace(CURRENT, code="GOLD-INR", overdraft_min_minor=5)
    async with stores.transaction():
        await stores.products.add(gold)
    with pytest.raises(ProductKnown):
        async with stores.transaction():
            await stores.products.add(replace(gold, name="Other"))

    assert await stores.products.get("GOLD-INR") == gold
    assert await stores.products.get("LEAD-INR") is None
    page = await stores.products.page(after="GOLD", limit=1)
    assert [each.code for each in page] == ["GOLD-INR"]
    assert await stores.said() == ["product-added"]


async def test_an_account_is_found_as_it_was_kept(stores: Stores):
    opened = await stores.add(branch=7)

    assert await stores.accounts.get(opened.id) == opened
    assert await stores.accounts.by_number(opened.number) == opened
    assert await stores.accounts.get(new_id()) is None


async def test_a_serial_is_never_given_twice(stores: Stores):
    serials = []
    for _ in range(3):
        async with stores.transaction():
            serials.append(await stores.accounts.next_serial())

    assert len(set(serials)) == 3 and all(serial > 0 for serial in serials)


async def test_a_product_of_the_first_day_is_in_both(stores: Stores):
    page = await stores.products.page(after="", limit=9)

    assert [(each.code, each.limit_per_day_minor) for each in page] == [
        ("CURRENT-INR", 500_000_000),
        ("SAVINGS-INR", 50_000_000),
    ]


async def test_a_customers_accounts_are_listed_without_those_never_opened(stores: Stores):
    first = await stores.add()
    await stores.add(state=State.REFUSED, opened_at=None)
    await stores.add(customer_id=UUID(int=8))
    last = await stores.add()

    found = await stores.accounts.page(customer_id=CUSTOMER, after=UUID(int=0), limit=9)
    rest = await stores.accounts.page(customer_id=CUSTOMER, after=first.id, limit=9)
    one = await stores.accounts.page(customer_id=CUSTOMER, after=UUID(int=0), limit=1)

    assert (found, rest, one) == ([first, last], [last], [first])


async def test_a_known_account_is_changed_and_no_other(stores: Stores):
    opened, other, freeze = await stores.add(), await stores.add(), a_freeze()

    async with stores.transaction():
        frozen = await stores.accounts.update(opened.id, lambda known: known.freeze(freeze))
        nobody = await stores.accounts.update(new_id(), lambda known: known)

    assert nobody is None and frozen == opened.freeze(freeze)
    assert await stores.accounts.get(opened.id) == frozen
    assert await stores.accounts.get(other.id) == other


async def test_freezes_are_kept_each_by_itself_and_read_in_their_order(stores: Stores):
    opened = await stores.add()
    whole = a_freeze(authority="High Court of Bombay", until=date(2026, 3, 9))
    suspension = a_freeze(Scope.DEBITS, cause=Cause.SUSPENSION, placed_at=NOON + timedelta(1))
    async with stores.transaction():
        await stores.accounts.update(opened.id, lambda known: known.freeze(suspension))
        await stores.accounts.update(opened.id, lambda known: known.freeze(whole))

    read = await stores.accounts.get(opened.id)
    assert read is not None and set(read.freezes) == {whole, suspension}
    async with stores.transaction():
        await stores.accounts.update(opened.id, lambda known: lift(known, whole.id))
    read = await stores.accounts.get(opened.id)
    assert read is not None
    assert (read.freezes, read.terms.frozen) == ((suspension,), Scope.DEBITS)


def lift(known: Account, freeze_id: UUID) -> Account:
    return known.unfreeze(freeze_id, because="paid", by="usha", at=NOON)


async def test_freezes_lapse_the_day_after_their_last(stores: Stores):
    opened, day = await stores.add(), date(2026, 3, 9)
    ends, later, never = a_freeze(until=day), a_freeze(until=day + timedelta(1)), a_freeze()
    async with stores.transaction():
        for freeze in (later, ends, never):
            await stores.accounts.update(opened.id, methodcaller("freeze", freeze))

    assert await stores.accounts.lapsed(today=day, limit=9) == []
    after = day + timedelta(2)
    assert await stores.accounts.lapsed(today=after, limit=9) == [
        (opened.id, ends.id),
        (opened.id, later.id),
    ]
    assert await stores.accounts.lapsed(today=after, limit=1) == [(opened.id, ends.id)]
    async with stores.transaction():
        await stores.accounts.update(opened.id, lambda known: lift(known, ends.id))
    assert await stores.accounts.lapsed(today=after, limit=9) == [(opened.id, later.id)]


async def test_the_newest_standing_of_a_holder_stays(stores: Stores):
    def holder(version: int, standing: HolderStanding) -> AccountHolder:
        return AccountHolder(customer_id=CUSTOMER, version=version, standing=standing)

    second, first = holder(2, HolderStanding.SUSPENDED), holder(1, HolderStanding.ACTIVE)
    async with stores.transaction():
        kept = [await stores.accounts.keep_holder(each) for each in (second, first, second)]
        third = await stores.accounts.keep_holder(holder(3, HolderStanding.CLOSED))

    assert kept == [second] * 3
    assert third == holder(3, HolderStanding.CLOSED)


async def test_accounts_that_are_not_ended_are_listed(stores: Stores):
    opened = await stores.add()
    await stores.add(state=State.REFUSED, opened_at=None)
    await stores.add(state=State.CLOSED, closed_at=NOON)
    opening = await stores.add(state=State.OPENING, opened_at=None, awaiting_ledger=True)

    found = await stores.accounts.unended(customer_id=CUSTOMER, after=UUID(int=0), limit=9)
    assert [each.id for each in found] == [opened.id, opening.id]
    rest = await stores.accounts.unended(customer_id=CUSTOMER, after=opened.id, limit=9)
    assert [each.id for each in rest] == [opening.id]


async def test_a_stricter_freeze_is_not_undone_by_a_release_that_knows_one(database):
    async with stores_on(database("accounts").runtime_url) as stores:
        opened = await stores.add()
        async with stores.transaction():
            await stores.accounts.update(opened.id, lambda known: known.freeze(a_freeze()))
        connection = stores.accounts.database  # type: ignore[attr-defined]
        for weaker in (None, "debits"):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("UPDATE account SET frozen = $1", weaker)


@pytest.mark.parametrize("scope", Scope)
async def test_a_freeze_of_a_release_that_knows_one_is_shown_and_lifted(database, scope):
    async with stores_on(database("accounts").runtime_url) as stores:
        opened = await stores.add()
        connection = stores.accounts.database  # type: ignore[attr-defined]
        await connection.execute("UPDATE account SET frozen = $1", scope.value)
        if scope is Scope.ALL:
            async with stores.transaction():
                await stores.accounts.update(
                    opened.id, lambda known: known.freeze(a_freeze(Scope.DEBITS))
                )

        read = await stores.accounts.get(opened.id)
        assert read is not None and read.terms.frozen is scope
        old = next(each for each in read.freezes if each.id == opened.id)
        assert (old.scope, old.placed_at) == (scope, opened.opened_at)
        async with stores.transaction():
            await stores.accounts.update(opened.id, lambda known: lift(known, old.id))
        read = await stores.accounts.get(opened.id)
        assert read is not None and old.id not in [each.id for each in read.freezes]


async def test_the_service_cannot_rewrite_what_was_agreed_or_forget_it(database):
    async with stores_on(database("accounts").runtime_url) as stores:
        await stores.add()
        connection = stores.accounts.database  # type: ignore[attr-defined]
        for forbidden in (
            "UPDATE account SET number = '00010000000021'",
            "DELETE FROM account",
            "UPDATE product SET overdraft_max_minor = 1",
            "UPDATE account_freeze SET scope = 'debits'",
            "DELETE FROM account_freeze",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
