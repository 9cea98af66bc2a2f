"""A change is finished once, whatever crashes between any two of its steps and whatever else
goes on at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.sagas import Standing
from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.change import Change
from cbs.accounts.domain.freeze import Scope
from cbs.kernel.refusal import NotPermitted, Refusal, Unavailable
from cbs.kernel.saga import DONE, Requester, Saga, mermaid
from cbs.platform.memory.stores import MemorySagas
from tests.accounts.fakes import Bank, FakeBook, FakeCustomers
from tests.platform.sagas import LEASE_SECONDS

CRASHES_MAX = 6


class Crash(Exception):
    """The process is gone; what it had done is done."""


@dataclass
class Chaos:
    """Before and after whatever reaches out, others go on, and the process may crash."""

    random: Random
    crashes: int = CRASHES_MAX

    async def around(self, act: Callable[[], Awaitable[Any]]) -> Any:
        await self.moment()
        result = await act()
        await self.moment()
        return result

    async def moment(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        if self.crashes and self.random.random() < 0.15:
            self.crashes -= 1
            raise Crash


@dataclass
class ChaoticBook(FakeBook):
    chaos: Chaos = field(default_factory=lambda: Chaos(Random(0)))

    async def change_terms(self, account: Account) -> None:
        await self.chaos.around(lambda: super(ChaoticBook, self).change_terms(account))


@dataclass(frozen=True, kw_only=True)
class ChaoticSagas(MemorySagas):
    """Others go on, and the process may crash, before a step is taken and after it was; and nothing
    is answered before the ledger holds it."""

    chaos: Chaos
    bank: Bank

    async def is_at(self, saga: Saga[Any]) -> bool:
        await self.chaos.moment()
        return await super().is_at(saga)

    async def move(self, saga: Saga[Any]) -> None:
        if saga.step == DONE:
            number = self.bank.account(saga).number
            assert self.bank.book.held[number].version >= saga.data.version
        await super().move(saga)


def chaotic(seed: int) -> Bank:
    chaos = Chaos(Random(seed))
    bank = Bank(book=ChaoticBook(chaos=chaos))
    bank.store = ChaoticSagas(
        database=bank.service.database, lease_seconds=LEASE_SECONDS, chaos=chaos, bank=bank
    )
    return bank


WANTED = st.sampled_from(["freeze", "unfreeze", "raise", "lower", "close", "pay", "spend"])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), wanted=st.lists(WANTED, min_size=1, max_size=8))
def test_every_interleaving_and_every_crash_ends_well(seed, wanted):
    with capture_logs() as logs:
        asyncio.run(every_change_ends_well(chaotic(seed), wanted))
    failed = [log["exc_info"] for log in logs if log["event"] == "saga-failed"]
    assert all(isinstance(error, Crash) for error in failed), failed


async def every_change_ends_well(bank: Bank, wanted: list[str]) -> None:
    opening = await bank.begin_opening(overdraft_minor=100)
    await driven(bank, opening)
    await settled(bank)
    number = bank.account(opening).number
    begun = [opening]

    async def act(place: int, what: str) -> None:
        if what in ("pay", "spend"):
            move(bank, number, 50 if what == "pay" else -50)
            return
        try:
            change = await begin(bank, opening.data.account_id, what, f"key-{place:04}")
        except Refusal:
            return
        begun.append(change)
        await driven(bank, change)

    async def meanwhile() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            bank.service.pass_time(4)
            await bank.sagas.finish_due()

    acts = [act(place, what) for place, what in enumerate(wanted)]
    await asyncio.gather(*acts, meanwhile())
    await settled(bank)

    account = bank.account(opening)
    held = bank.book.held[number]
    assert account.settled and not account.awaiting_ledger
    assert (held.version, held.terms) == (account.version, account.terms)
    assert (held.state is State.CLOSING) == (account.state is State.CLOSED)
    answers = bank.service.answers
    assert {("asha", change.requester.key) for change in begun} <= set(answers)
    good = [answer for answer in answers.values() if not answer.is_refusal]
    assert len(bank.service.facts) == len(good)


async def driven(bank: Bank, change: Saga[Change]) -> None:
    try:
        await bank.sagas.drive(change)
    except Crash:
        return


async def settled(bank: Bank) -> None:
    """No more crashes: the service finishes by itself what was left."""
    chaos = bank.book.chaos  # type: ignore[attr-defined]
    chaos.crashes = 0
    for _ in range(20):
        bank.service.pass_time(60)
        if not await bank.sagas.finish_due():
            break
    chaos.crashes = CRASHES_MAX
    assert await bank.service.store.unfinished() == 0


async def begin(bank: Bank, id: Any, what: str, key: str) -> Saga[Change]:
    return await bank.begin(key, lambda who: wanted_of(bank.accounts, id, what, who))


async def wanted_of(accounts: Accounts, id: Any, what: str, who: Requester) -> Saga[Change]:
    match what:
        case "freeze":
            return await accounts.freeze(
                account_id=id,
                scope=Scope.DEBITS,
                reason="court",
                authority=None,
                until=None,
                requester=who,
            )
        case "unfreeze":
            return await accounts.unfreeze(
                account_id=id, freeze_id=None, reason="court", requester=who
            )
        case "close":
            return await accounts.close(account_id=id, reason="moved", requester=who)
    return await accounts.limit(
        account_id=id,
        per_transaction_minor=None,
        per_day_minor=7,
        overdraft_minor=0 if what == "lower" else 200,
        requester=who,
    )


def move(bank: Bank, number: str, amount_minor: int) -> None:
    """Money moves as far as the ledger's terms allow."""
    held = bank.book.held[number]
    after = bank.book.balance_minor.get(number, 0) + amount_minor
    blocked = held.state is State.CLOSING or (amount_minor < 0 and held.terms.frozen)
    if not blocked and after >= -held.terms.overdraft_minor:
        bank.book.balance_minor[number] = after


async def test_what_the_ledger_refuses_is_undone_under_a_newer_version():
    bank = Bank()
    account = await bank.opened()
    bank.book.balance_minor[account.number] = 5
    change = await begin(bank, account.id, "close", "close-01")

    await bank.sagas.drive(change)

    after = bank.account(change)
    assert (after.state, after.version, after.settled) == (State.OPEN, 3, True)
    assert bank.book.held[account.number].version == 3
    assert bank.service.answers["asha", "close-01"].status == 409
    assert bank.service.facts == ["account-opened"]


async def test_a_refused_closing_that_arrives_late_closes_nothing():
    bank = Bank()
    account = await bank.opened()
    bank.book.balance_minor[account.number] = 5
    change = await begin(bank, account.id, "close", "close-01")
    closing = bank.account(change)
    await bank.sagas.drive(change)

    bank.book.balance_minor[account.number] = 0
    await bank.book.change_terms(closing)

    assert bank.book.held[account.number].state is State.OPEN


async def test_what_was_checked_is_not_asked_again():
    bank = Bank()
    saga = await bank.begin_opening()
    checked = replace(saga, step="open-in-ledger")
    async with bank.service.database.transaction():
        await bank.service.store.move(checked)
    bank.customers.answer = Standing(verified=False, active=False)

    assert await bank.sagas.drive(saga) is None
    await bank.sagas.drive(checked)

    assert bank.service.answers["asha", "open-0001"].status == 201


@pytest.mark.parametrize("why", [Unavailable("away"), NotPermitted("no token")])
async def test_what_cannot_be_done_now_is_tried_again_less_and_less_often(why):
    class Away(FakeCustomers):
        async def standing(self, customer_id: Any) -> Standing:
            raise why

    bank = Bank(customers=Away())
    change = await bank.begin_opening()
    with pytest.raises(Unavailable):
        await bank.sagas.drive(change)
    pauses = []
    for _ in range(8):
        waited = 0.0
        while not await bank.sagas.finish_due():
            bank.service.pass_time(0.25)
            waited += 0.25
        pauses.append(waited)

    assert pauses == sorted(pauses) and pauses[0] < 1 and pauses[-1] <= 31
    assert bank.service.answers == {}
    bank.customers = FakeCustomers()
    bank.service.pass_time(60)
    await bank.sagas.finish_due()
    assert bank.service.answers["asha", "open-0001"].status == 201


async def test_a_bug_in_one_change_does_not_stop_the_others():
    bank = Bank()
    broken = await bank.begin_opening("open-0001")
    await bank.begin_opening("open-0002")
    async with bank.service.database.transaction():
        await bank.kept.update(
            broken.data.account_id, lambda account: replace(account, state=State.CLOSED)
        )
    bank.customers.answer = Standing(verified=False, active=True)
    bank.service.pass_time(60)

    with capture_logs() as logs:
        await bank.sagas.finish_due()

    failed = [log["exc_info"] for log in logs if log["event"] == "saga-failed"]
    assert [type(each) for each in failed] == [AssertionError]
    assert set(bank.service.answers) == {("asha", "open-0002")}


def test_the_drawings_are_those_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "sagas.md").read_text()
    for kind, definition in Bank().definitions.items():
        drawing = mermaid(definition)
        assert drawing in page, f"docs/reference/sagas.md lacks the saga of {kind}:\n{drawing}"
