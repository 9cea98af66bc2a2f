"""What every store of accounts promises, in memory and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from cbs.accounts.application.accounts import AccountStore, ProductStore
from cbs.accounts.application.changes import Advance, ChangeStore
from cbs.accounts.domain.account import Account, Scope, State
from cbs.accounts.domain.change import Change, Kind, Step
from cbs.accounts.domain.product import ProductKnown
from cbs.accounts.store.accounts import PostgresAccounts, PostgresProducts
from cbs.accounts.store.changes import PostgresChanges
from cbs.accounts.tables import AccountRow, ChangeRow, ProductRow
from cbs.kernel.account_number import account_number
from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.platform.context import new_id
from cbs.platform.database import Database
from cbs.platform.idempotency import Key, PostgresKeys
from cbs.platform.outbox import Outbox, fact_of
from cbs.platform.problem import answer_of
from tests.accounts.fakes import (
    CURRENT,
    NOON,
    InMemoryAccounts,
    InMemoryProducts,
    account,
    asker,
)

CUSTOMER = UUID(int=7)
DONE = Answer(status=200, body=b'{"done":true}')


@dataclass
class Stores:
    """`kept` is what was answered under a key, `said` the facts so far."""

    accounts: AccountStore
    changes: ChangeStore
    products: ProductStore
    transaction: Callable[[], Any]
    pass_time: Callable[[float], Any]
    claim: Callable[[str], Any]
    kept: Callable[[str], Any]
    said: Callable[[], Any]

    async def begin(self, key: str = "key-0001", **changed: Any) -> tuple[Account, Change]:
        async with self.transaction():
            serial = await self.accounts.next_serial()
        id, number = new_id(), account_number(branch=1, serial=serial)
        opened = account(id=id, number=number, **changed)
        change = change_of(opened, Kind.OPEN, key)
        await self.claim(key)
        async with self.transaction():
            await self.accounts.begin(opened, change)
        return opened, change


def change_of(changed: Account, kind: Kind, key: str) -> Change:
    return Change(
        id=new_id(),
        account_id=changed.id,
        kind=kind,
        step=Step.TELL_LEDGER,
        version=changed.version,
        terms=changed.terms,
        former=changed.terms,
        asker=asker(key),
    )


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


def in_memory() -> Stores:
    store, products = InMemoryAccounts(lease_seconds=10), InMemoryProducts()

    async def pass_time(seconds: float) -> None:
        store.clock += seconds

    async def claim(key: str) -> None:
        pass

    async def kept(key: str) -> Answer | None:
        return store.answers.get(("asha", key))

    async def said() -> list[str]:
        return [event.fact for event in (*products.facts, *store.facts)]

    return Stores(store, store, products, nothing, pass_time, claim, kept, said)


async def in_postgres(url: str) -> AsyncIterator[Stores]:
    database = Database(url)
    database.bind(ProductRow, AccountRow, ChangeRow)
    await database.open()
    outbox = Outbox(service="accounts", database=database)
    requests = PostgresKeys(database=database, refused=answer_of)

    async def pass_time(seconds: float) -> None:
        later = "UPDATE change SET lease_until = lease_until - make_interval(secs => $1)"
        await database.execute(later, seconds)

    async def claim(key: str) -> None:
        async def effect() -> None:
            return None

        await requests.once(Key(principal="asha", key=key, fingerprint=b"", at=NOON), effect)

    async def kept(key: str) -> Answer | None:
        found = await requests.find(principal="asha", key=key)
        if found is None or found.status is None:
            return None
        return Answer(status=found.status, body=bytes(found.answer or b""))

    async def said() -> list[str]:
        return [fact_of(body).name for _, _, body in await outbox.after(0, limit=99)]

    try:
        yield Stores(
            PostgresAccounts(database=database, lease_seconds=10),
            PostgresChanges(database=database, outbox=outbox, requests=requests, now=lambda: NOON),
            PostgresProducts(database=database, outbox=outbox),
            database.transaction,
            pass_time,
            claim,
            kept,
            said,
        )
    finally:
        await database.close()


@pytest.fixture(params=["memory", "postgres"])
async def stores(request):
    if request.param == "memory":
        yield in_memory()
        return
    place = request.getfixturevalue("database")("accounts")
    async for stores in in_postgres(place.runtime_url):
        yield stores


def to(step: Step, *, news: Event | None = None, **changed: Any) -> Callable[[Account], Advance]:
    def advance(known: Account) -> Advance:
        answer = DONE if step is Step.DONE else None
        told = replace(known, **changed)
        return Advance(to=step, account=told, version=told.version, news=news, answer=answer)

    return advance


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


async def test_what_is_begun_is_found_as_it_was(stores: Stores):
    opened, _ = await stores.begin(product="SAVINGS-INR")

    assert await stores.accounts.get(opened.id) == opened
    assert await stores.accounts.by_number(opened.number) == opened
    assert await stores.changes.account(opened.id) == opened
    assert await stores.accounts.get(new_id()) is None
    assert await stores.accounts.by_number("00010000000099") is None


async def test_a_serial_is_never_given_twice(stores: Stores):
    serials = []
    for _ in range(3):
        async with stores.transaction():
            serials.append(await stores.accounts.next_serial())

    assert len(set(serials)) == 3 and all(serial > 0 for serial in serials)


async def test_a_customers_accounts_are_listed_without_those_never_opened(stores: Stores):
    first, _ = await stores.begin("key-0001")
    await stores.begin("key-0002", state=State.REFUSED, opened_at=None)
    await stores.begin("key-0003", customer_id=UUID(int=8))
    last, _ = await stores.begin("key-0004")

    found = await stores.accounts.page(customer_id=CUSTOMER, after=UUID(int=0), limit=9)
    rest = await stores.accounts.page(customer_id=CUSTOMER, after=first.id, limit=9)
    one = await stores.accounts.page(customer_id=CUSTOMER, after=UUID(int=0), limit=1)

    assert (found, rest, one) == ([first, last], [last], [first])


async def test_a_change_of_a_known_account_is_begun_with_it(stores: Stores):
    opened, _ = await stores.begin()

    def freeze(known: Account) -> tuple[Account, Change]:
        frozen = known.freeze(Scope.DEBITS)
        return frozen, change_of(frozen, Kind.FREEZE, "key-0002")

    async with stores.transaction():
        change = await stores.accounts.change(opened.id, freeze)
        nobody = await stores.accounts.change(new_id(), freeze)

    assert nobody is None and change is not None
    assert await stores.accounts.get(opened.id) == opened.freeze(Scope.DEBITS)
    await stores.pass_time(11)
    assert await stores.changes.take(principal="asha", key="key-0002", lease_seconds=5) == change


async def test_who_begins_has_the_lease_until_it_runs_out(stores: Stores):
    _, change = await stores.begin()

    async def taken() -> Change | None:
        return await stores.changes.take(principal="asha", key="key-0001", lease_seconds=5)

    assert await taken() is None
    assert await stores.changes.take_due(limit=9, lease_seconds=5) == []
    await stores.pass_time(11)
    assert await stores.changes.take(principal="bela", key="key-0001", lease_seconds=5) is None
    assert await taken() == change
    assert await taken() is None
    await stores.pass_time(6)
    assert await stores.changes.take_due(limit=9, lease_seconds=5) == [change]


async def test_a_deferred_change_is_left_alone_for_so_long(stores: Stores):
    _, change = await stores.begin()
    await stores.changes.defer(change, seconds=3, error="the ledger is away")

    assert await stores.changes.take_due(limit=9, lease_seconds=5) == []
    await stores.pass_time(4)
    again = await stores.changes.take_due(limit=9, lease_seconds=5)
    assert again == [replace(change, tries=1)]


async def test_no_more_are_due_than_asked_for(stores: Stores):
    begun = {(await stores.begin(f"key-000{n}"))[1].id for n in range(3)}
    await stores.pass_time(11)

    some = await stores.changes.take_due(limit=2, lease_seconds=5)
    rest = await stores.changes.take_due(limit=2, lease_seconds=5)

    assert (len(some), len(rest)) == (2, 1)
    assert {change.id for change in (*some, *rest)} == begun


async def test_a_step_is_taken_once(stores: Stores):
    opened, change = await stores.begin()

    on = await stores.changes.advance(change, to(Step.WITHDRAW, version=5))
    late = await stores.changes.advance(change, to(Step.DONE, version=9))

    assert on == replace(change, step=Step.WITHDRAW, version=5)
    assert late is None
    assert (await stores.changes.account(opened.id)).version == 5
    assert await stores.kept("key-0001") is None


async def test_what_is_done_is_answered_said_and_never_due_again(stores: Stores):
    opened, change = await stores.begin()
    assert await stores.changes.unfinished() == 1

    done = await stores.changes.advance(change, to(Step.DONE, news=change.news(opened)))

    assert done is not None and done.step is Step.DONE
    assert await stores.kept("key-0001") == DONE
    assert await stores.said() == ["account-opened"]
    assert await stores.changes.unfinished() == 0
    await stores.pass_time(1_000)
    assert await stores.changes.take(principal="asha", key="key-0001", lease_seconds=5) is None
    assert await stores.changes.take_due(limit=9, lease_seconds=5) == []


async def test_the_refusal_of_a_withdrawn_change_is_kept_with_it(stores: Stores):
    _, change = await stores.begin()
    no = Answer(status=409, body=b'{"status":409}')

    def withdraw(known: Account) -> Advance:
        return Advance(to=Step.WITHDRAW, account=known, version=known.version, refusal=no)

    await stores.changes.advance(change, withdraw)
    await stores.pass_time(11)

    [found] = await stores.changes.take_due(limit=9, lease_seconds=5)
    assert (found.step, found.refusal) == (Step.WITHDRAW, no)


async def test_instances_do_not_take_the_same_changes(database):
    url = database("accounts").runtime_url
    async for stores in in_postgres(url):
        for n in range(8):
            await stores.begin(f"key-{n:04}")
        await stores.pass_time(11)

        batches = await asyncio.gather(
            *(stores.changes.take_due(limit=3, lease_seconds=5) for _ in range(6))
        )

        taken = [change.id for batch in batches for change in batch]
        assert len(taken) == len(set(taken))


async def test_one_step_taken_by_many_at_once_is_taken_once(database):
    async for stores in in_postgres(database("accounts").runtime_url):
        _, change = await stores.begin()

        outcomes = await asyncio.gather(
            *(stores.changes.advance(change, to(Step.DONE)) for _ in range(8))
        )

        assert sum(outcome is not None for outcome in outcomes) == 1


async def test_the_service_cannot_rewrite_what_was_agreed_or_forget_it(database):
    async for stores in in_postgres(database("accounts").runtime_url):
        await stores.begin()
        connection = stores.accounts.database  # type: ignore[attr-defined]
        for forbidden in (
            "UPDATE account SET number = '00010000000021'",
            "DELETE FROM account",
            "DELETE FROM change",
            "UPDATE change SET principal = 'somebody'",
            "UPDATE product SET overdraft_max_minor = 1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
