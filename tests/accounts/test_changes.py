"""A change is finished once, whatever crashes between any two of its steps and whatever else
goes on at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbs.accounts.application.changes import Advance, Standing
from cbs.accounts.domain.account import Account, Scope, State
from cbs.accounts.domain.change import Change, Step
from cbs.kernel.refusal import NotPermitted, Refusal, Unavailable
from tests.accounts.fakes import Bank, FakeBook, FakeCustomers, InMemoryAccounts, asker

CRASHES_MAX = 6


class Crash(Exception):
    """The process is gone; what it had done is done."""


@dataclass
class Chaos:
    """Before and after whatever reaches out, others go on, and the process may crash."""

    random: Random
    crashes: int = CRASHES_MAX

    async def around(self, act: Callable[[], Awaitable[Any]]) -> Any:
        await self._moment()
        result = await act()
        await self._moment()
        return result

    async def _moment(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        if self.crashes and self.random.random() < 0.15:
            self.crashes -= 1
            raise Crash


@dataclass
class ChaoticBook(FakeBook):
    chaos: Chaos = field(default_factory=lambda: Chaos(Random(0)))

    async def hold(self, account: Account) -> None:
        await self.chaos.around(lambda: super(ChaoticBook, self).hold(account))


@dataclass
class ChaoticStore(InMemoryAccounts):
    """Sees to it that nothing is answered before the ledger holds it."""

    chaos: Chaos = field(default_factory=lambda: Chaos(Random(0)))
    book: FakeBook = field(default_factory=FakeBook)

    async def advance(self, change: Change, advance: Callable[[Account], Advance]) -> Change | None:
        def watched(known: Account) -> Advance:
            taken = advance(known)
            if taken.to is Step.DONE and known.state is not State.OPENING:
                assert self.book.held[known.number].version >= taken.version
            return taken

        result: Change | None = await self.chaos.around(
            lambda: super(ChaoticStore, self).advance(change, watched)
        )
        return result


def chaotic(seed: int) -> Bank:
    chaos = Chaos(Random(seed))
    book = ChaoticBook(chaos=chaos)
    return Bank(store=ChaoticStore(chaos=chaos, book=book), book=book)


WANTED = st.sampled_from(["freeze", "unfreeze", "raise", "lower", "close", "pay", "spend"])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), wanted=st.lists(WANTED, min_size=1, max_size=8))
def test_every_interleaving_and_every_crash_ends_well(seed, wanted):
    asyncio.run(every_change_ends_well(chaotic(seed), wanted))


async def every_change_ends_well(bank: Bank, wanted: list[str]) -> None:
    opening = await bank.begin_opening(overdraft_minor=100)
    await driven(bank, opening)
    await settled(bank)
    number = bank.store.rows[opening.account_id].number
    begun = [opening]

    async def act(place: int, what: str) -> None:
        if what in ("pay", "spend"):
            move(bank, number, 50 if what == "pay" else -50)
            return
        try:
            change = await begin(bank, opening.account_id, what, f"key-{place:04}")
        except Refusal:
            return
        begun.append(change)
        await driven(bank, change)

    async def meanwhile() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            bank.store.clock += 4
            await bank.changes.finish_due()

    acts = [act(place, what) for place, what in enumerate(wanted)]
    await asyncio.gather(*acts, meanwhile())
    await settled(bank)

    account = bank.store.rows[opening.account_id]
    held = bank.book.held[number]
    assert account.settled and not account.contingent
    assert (held.version, held.terms) == (account.version, account.terms)
    assert (held.state is State.CLOSING) == (account.state is State.CLOSED)
    assert set(bank.store.answers) == {(c.asker.principal, c.asker.key) for c in begun}
    good = [answer for answer in bank.store.answers.values() if not answer.is_refusal]
    assert len(bank.store.facts) == len(good)
    assert not [each for each in bank.failures if not isinstance(each, Crash)]


async def driven(bank: Bank, change: Change) -> None:
    try:
        await bank.changes.drive(change)
    except Crash:
        return


async def settled(bank: Bank) -> None:
    """No more crashes: the service finishes by itself what was left."""
    bank.store.chaos.crashes = 0  # type: ignore[attr-defined]
    for _ in range(20):
        bank.store.clock += 60
        if not await bank.changes.finish_due():
            break
    bank.store.chaos.crashes = CRASHES_MAX  # type: ignore[attr-defined]
    assert await bank.store.unfinished() == 0


async def begin(bank: Bank, id: Any, what: str, key: str) -> Change:
    accounts, who = bank.accounts, asker(key)
    match what:
        case "freeze":
            return await accounts.freeze(
                account_id=id, scope=Scope.DEBITS, reason="court", asker=who
            )
        case "unfreeze":
            return await accounts.unfreeze(account_id=id, reason="court", asker=who)
        case "close":
            return await accounts.close(account_id=id, reason="moved", asker=who)
    return await accounts.limit(
        account_id=id,
        per_transaction_minor=None,
        per_day_minor=7,
        overdraft_minor=0 if what == "lower" else 200,
        asker=who,
    )


def move(bank: Bank, number: str, amount_minor: int) -> None:
    """Money moves as far as the ledger's terms allow."""
    held = bank.book.held[number]
    after = bank.book.balance_minor.get(number, 0) + amount_minor
    blocked = held.state is State.CLOSING or (amount_minor < 0 and held.terms.frozen)
    if not blocked and after >= -held.terms.overdraft_minor:
        bank.book.balance_minor[number] = after


async def test_what_the_ledger_refuses_is_withdrawn_under_a_newer_version():
    bank = Bank()
    account = await bank.opened()
    bank.book.balance_minor[account.number] = 5
    change = await begin(bank, account.id, "close", "close-01")

    await bank.changes.drive(change)

    after = bank.store.rows[account.id]
    assert (after.state, after.version, after.settled) == (State.OPEN, 3, True)
    assert bank.book.held[account.number].version == 3
    assert bank.store.answers["asha", "close-01"].status == 409
    assert [event.fact for event in bank.store.facts] == ["account-opened"]


async def test_a_refused_closing_that_arrives_late_closes_nothing():
    bank = Bank()
    account = await bank.opened()
    bank.book.balance_minor[account.number] = 5
    change = await begin(bank, account.id, "close", "close-01")
    closing = bank.store.rows[account.id]
    await bank.changes.drive(change)

    bank.book.balance_minor[account.number] = 0
    await bank.book.hold(closing)

    assert bank.book.held[account.number].state is State.OPEN


async def test_what_was_checked_is_not_asked_again():
    bank = Bank()
    change = await bank.begin_opening()
    checked = await bank.changes._check_customer(change)
    bank.customers.answer = Standing(verified=False, active=False)

    assert checked is not None and checked.step is Step.TELL_LEDGER
    await bank.changes.drive(change)
    assert await bank.store.unfinished() == 1
    await bank.changes.drive(checked)

    assert bank.store.answers["asha", "open-0001"].status == 201


@pytest.mark.parametrize("why", [Unavailable("away"), NotPermitted("no token")])
async def test_what_cannot_be_done_now_is_tried_again_less_and_less_often(why):
    class Away(FakeCustomers):
        async def standing(self, customer_id: Any) -> Standing:
            raise why

    bank = Bank(customers=Away())
    change = await bank.begin_opening()
    with pytest.raises(Unavailable):
        await bank.changes.drive(change)
    pauses = []
    for _ in range(8):
        before = bank.store.clock
        while not await bank.changes.finish_due():
            bank.store.clock += 0.25
        pauses.append(bank.store.clock - before)

    assert pauses == sorted(pauses) and pauses[0] < 1 and pauses[-1] <= 31
    assert bank.store.answers == {}
    bank.customers = FakeCustomers()
    bank.store.clock += 60
    await bank.changes.finish_due()
    assert bank.store.answers["asha", "open-0001"].status == 201


async def test_a_bug_in_one_change_does_not_stop_the_others():
    bank = Bank()
    broken = await bank.begin_opening("open-0001")
    await bank.begin_opening("open-0002")
    bank.store.rows[broken.account_id] = replace(
        bank.store.rows[broken.account_id], state=State.CLOSED
    )
    bank.customers.answer = Standing(verified=False, active=True)
    bank.store.clock += 60

    await bank.changes.finish_due()

    assert [type(each) for each in bank.failures] == [AssertionError]
    assert set(bank.store.answers) == {("asha", "open-0002")}
