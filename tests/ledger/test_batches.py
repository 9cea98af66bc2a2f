"""How orders travel together: nobody waits for company, nobody is hurt by a neighbour."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Busy, Refusal, Unavailable
from cbs.ledger.application import book as limits
from cbs.ledger.application.book import BatchAborted, Ledger, OutcomeUnknown
from cbs.ledger.domain.transaction import Order
from tests.ledger.orders import order


@dataclass
class Script:
    """A book that does what the test says, batch by batch."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[str]] = field(default_factory=list)
    kept: dict[str, Answer] = field(default_factory=dict)
    fail: dict[str, Exception] = field(default_factory=dict)
    lost: bool = False

    async def post(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        self.batches.append([each.key for each in orders])
        await self.gate.wait()
        for each in orders:
            if error := self.fail.get(each.key):
                raise error
        answers: list[Answer | Refusal] = [
            self.kept.setdefault(each.key, Answer(status=201, body=each.key.encode()))
            for each in orders
        ]
        if self.lost:
            raise OutcomeUnknown
        return answers

    async def answers(self, orders: Sequence[Order]) -> list[Answer | Refusal | None]:
        return [self.kept.get(each.key) for each in orders]


def named(key: str) -> Order:
    return order("alice", "bob", 1, key=key)


def started(ledger: Ledger, *keys: str) -> list["asyncio.Task[Answer]"]:
    return [asyncio.create_task(ledger.post(named(key))) for key in keys]


async def test_the_first_leaves_alone_and_the_rest_together():
    script = Script()
    ledger = Ledger(book=script)  # type: ignore[arg-type]
    tasks = started(ledger, "k1", "k2", "k3")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert script.batches == [["k1"]]

    script.gate.set()
    answers = await asyncio.gather(*tasks)

    assert script.batches == [["k1"], ["k2", "k3"]]
    assert [answer.body for answer in answers] == [b"k1", b"k2", b"k3"]


async def test_one_bad_order_does_not_hurt_its_neighbours():
    script = Script(fail={"bad": BatchAborted()})
    ledger = Ledger(book=script)  # type: ignore[arg-type]
    tasks = started(ledger, "k1", "k2", "bad", "k3")
    script.gate.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(outcomes[2], Unavailable)
    assert [outcome.body for outcome in outcomes if isinstance(outcome, Answer)] == [
        b"k1",
        b"k2",
        b"k3",
    ]
    assert script.batches[1:] == [["k2", "bad", "k3"], ["k2"], ["bad"], ["k3"]]


async def test_after_a_lost_commit_the_keys_are_looked_up():
    script = Script(lost=True)
    script.gate.set()
    ledger = Ledger(book=script)  # type: ignore[arg-type]

    assert (await ledger.post(named("k1"))).body == b"k1"


async def test_what_is_not_known_is_not_called_refused():
    script = Script(fail={"k1": OutcomeUnknown()})
    script.gate.set()
    ledger = Ledger(book=script)  # type: ignore[arg-type]

    with pytest.raises(Unavailable):
        await ledger.post(named("k1"))


async def test_a_bug_in_the_store_leaves_nobody_waiting():
    script = Script(fail={"k1": ZeroDivisionError()})
    script.gate.set()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    ledger = Ledger(book=script)  # type: ignore[arg-type]

    with pytest.raises(Unavailable):
        await asyncio.wait_for(ledger.post(named("k1")), timeout=1)


async def test_the_queue_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "WAITING_ORDERS_MAX", 3)
    script = Script()
    ledger = Ledger(book=script)  # type: ignore[arg-type]
    tasks = started(ledger, "k1", "k2", "k3", "k4")
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await ledger.post(named("k5"))

    script.gate.set()
    await asyncio.gather(*tasks)


async def test_who_gave_up_waiting_is_not_posted_for():
    script = Script()
    ledger = Ledger(book=script)  # type: ignore[arg-type]
    first, second = started(ledger, "k1", "k2")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    script.gate.set()
    await first
    await asyncio.sleep(0)

    assert script.batches == [["k1"]]
