"""What every store of sagas promises, in memory and in PostgreSQL, and how the engine uses it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Refusal, Unavailable
from cbs.kernel.saga import (
    DONE,
    Effect,
    Outcome,
    Requester,
    Saga,
    SagaDefinition,
    Step,
    mermaid,
    nothing,
)
from cbs.platform.context import new_id
from cbs.platform.database import Database
from cbs.platform.saga import SagaStore
from cbs.platform.saga_store import PostgresSagas
from tests.platform.sagas import MemoryService

GOOD = Answer(status=200, body=b'{"done":true}')


@dataclass(frozen=True, kw_only=True)
class Trip:
    seats: int


class NoRoom(Refusal):
    """There is no room."""

    code = "no-room"


async def _take(_: Saga[Trip]) -> Effect[Trip]:
    return nothing


def step(name: str, *compensation: str) -> Step[Trip]:
    undo = tuple(Step(name=each, take=_take) for each in compensation)
    return Step(name=name, take=_take, compensation=undo)


TRIP = SagaDefinition(
    kind="trip",
    data=Trip,
    steps=(step("flight", "cancel-flight"), step("visa"), step("hotel", "empty", "cancel-hotel")),
)


def trip(key: str = "key-0001", **changed: Any) -> Saga[Trip]:
    plain = Saga(
        id=new_id(),
        kind="trip",
        step=TRIP.first,
        data=Trip(seats=2),
        requester=Requester(principal="asha", key=key, on_behalf_of="bela", correlation_id="c"),
    )
    return replace(plain, **changed)


# --- the graph ------------------------------------------------------------------------------------


def test_steps_follow_each_other_and_their_compensations_run_backwards():
    forward = ["flight", "visa", "hotel"]
    assert [TRIP.following(name) for name in forward] == ["visa", "hotel", DONE]
    backward = ["empty", "cancel-hotel", "cancel-flight"]
    assert [TRIP.following(name) for name in backward] == ["cancel-hotel", "cancel-flight", DONE]


def test_a_refused_step_is_undone_with_those_before_it():
    undone = {"flight": "cancel-flight", "visa": "cancel-flight", "hotel": "empty"}
    assert {name: TRIP.refused(name) for name in undone} == undone
    assert SagaDefinition(kind="k", data=Trip, steps=(step("one"),)).refused("one") == DONE


def test_a_compensation_must_not_be_refused():
    assert [TRIP.refused(name) for name in ("cancel-flight", "empty", "cancel-hotel")] == [None] * 3


@pytest.mark.parametrize("steps", [(), (step("a"), step("a")), (step("a", "a"),), (step("done"),)])
def test_a_name_is_one_step(steps):
    with pytest.raises(AssertionError):
        SagaDefinition(kind="k", data=Trip, steps=steps)


def test_the_drawing_has_every_way():
    assert mermaid(TRIP).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> flight",
        "    flight --> visa",
        "    flight --> cancel-flight : refused",
        "    visa --> hotel",
        "    visa --> cancel-flight : refused",
        "    hotel --> [*]",
        "    hotel --> empty : refused",
        "    empty --> cancel-hotel",
        "    cancel-hotel --> cancel-flight",
        "    cancel-flight --> [*]",
    ]


# --- the store ------------------------------------------------------------------------------------


@dataclass
class Stored:
    store: SagaStore
    transaction: Callable[[], Any]
    pass_time: Callable[[float], Any]

    async def begin(self, saga: Saga[Trip]) -> Saga[Trip]:
        async with self.transaction():
            await self.store.begin(saga)
        return saga

    async def move(self, saga: Saga[Trip], moved: Saga[Trip]) -> bool:
        async with self.transaction():
            if not await self.store.is_at(saga):
                return False
            await self.store.move(moved)
        return True

    async def taken(self, key: str = "key-0001", principal: str = "asha") -> Saga[Any] | None:
        return await self.store.take(principal=principal, key=key)


@asynccontextmanager
async def in_memory() -> AsyncIterator[Stored]:
    service = MemoryService()

    async def pass_time(seconds: float) -> None:
        service.pass_time(seconds)

    yield Stored(service.store, service.database.transaction, pass_time)


@asynccontextmanager
async def in_postgres(url: str) -> AsyncIterator[Stored]:
    database = Database(url)
    await database.open()

    async def pass_time(seconds: float) -> None:
        later = "UPDATE saga SET lease_until = lease_until - make_interval(secs => $1)"
        await database.execute(later, seconds)

    store = PostgresSagas(database=database, definitions={"trip": TRIP}, lease_seconds=10)
    try:
        yield Stored(store, database.transaction, pass_time)
    finally:
        await database.close()


@pytest.fixture(params=["memory", "postgres"])
async def stored(request) -> AsyncIterator[Stored]:
    if request.param == "memory":
        async with in_memory() as made:
            yield made
        return
    url = request.getfixturevalue("database")("accounts").runtime_url
    async with in_postgres(url) as made:
        yield made


async def test_who_begins_has_the_lease_until_it_runs_out(stored: Stored):
    saga = await stored.begin(trip())

    assert await stored.taken() is None
    assert list(await stored.store.take_due(limit=9)) == []
    await stored.pass_time(11)
    assert await stored.taken(principal="bela") is None
    assert await stored.taken() == saga
    assert await stored.taken() is None
    await stored.pass_time(11)
    assert list(await stored.store.take_due(limit=9)) == [saga]


async def test_a_deferred_one_is_left_alone_for_so_long(stored: Stored):
    saga = await stored.begin(trip())
    await stored.store.defer(saga, seconds=3, error="the ledger is away")

    await stored.pass_time(2)
    assert list(await stored.store.take_due(limit=9)) == []
    await stored.pass_time(2)
    assert list(await stored.store.take_due(limit=9)) == [replace(saga, tries=1)]


async def test_no_more_are_due_than_asked_for_and_those_that_waited_longest(stored: Stored):
    begun = []
    for n in range(3):
        begun.append(await stored.begin(trip(f"key-{n:04}")))
        await stored.pass_time(1)
    await stored.pass_time(11)

    some = await stored.store.take_due(limit=2)
    rest = await stored.store.take_due(limit=2)

    assert {saga.id for saga in some} == {saga.id for saga in begun[:2]}
    assert [saga.id for saga in rest] == [begun[2].id]


async def test_a_step_is_taken_once_with_all_that_it_changed(stored: Stored):
    saga = await stored.begin(trip())
    no = Answer(status=409, body=b'{"status":409}')
    moved = replace(
        saga, step="cancel-flight", data=Trip(seats=9), refusal=no, refusal_code="no-room"
    )

    assert await stored.move(saga, moved)
    assert not await stored.move(saga, replace(saga, step="visa"))

    await stored.pass_time(11)
    assert await stored.taken() == moved


async def test_what_is_done_is_never_due_again(stored: Stored):
    saga = await stored.begin(trip())
    assert await stored.store.unfinished() == 1

    await stored.move(saga, replace(saga, step=DONE))

    assert await stored.store.unfinished() == 0
    await stored.pass_time(1_000)
    assert await stored.taken() is None
    assert list(await stored.store.take_due(limit=9)) == []


async def test_instances_do_not_take_the_same_ones(database):
    async with in_postgres(database("accounts").runtime_url) as stored:
        for n in range(8):
            await stored.begin(trip(f"key-{n:04}"))
        await stored.pass_time(11)

        batches = await asyncio.gather(*(stored.store.take_due(limit=3) for _ in range(6)))

        taken = [saga.id for batch in batches for saga in batch]
        assert len(taken) == len(set(taken)) > 0


async def test_one_step_taken_by_many_at_once_is_taken_once(database):
    async with in_postgres(database("accounts").runtime_url) as stored:
        saga = await stored.begin(trip())

        moved = replace(saga, step="visa")
        outcomes = await asyncio.gather(*(stored.move(saga, moved) for _ in range(8)))

        assert sum(outcomes) == 1


async def test_the_service_cannot_rewrite_who_asked_or_forget_it(database):
    async with in_postgres(database("accounts").runtime_url) as stored:
        await stored.begin(trip())
        for forbidden in ("DELETE FROM saga", "UPDATE saga SET principal = 'somebody'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await stored.store.database.execute(forbidden)  # type: ignore[attr-defined]


# --- the engine -----------------------------------------------------------------------------------


@dataclass
class Agency:
    """Steps that do what the test says, and what was done, in order."""

    full: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    service: MemoryService = field(default_factory=MemoryService)

    def taking(self, name: str, *compensation: str) -> Step[Trip]:
        async def take(saga: Saga[Trip]) -> Effect[Trip]:
            if name in self.away:
                raise Unavailable("away")
            if name in self.full:
                raise NoRoom

            async def effect() -> Outcome[Trip]:
                self.done.append(name)
                return Outcome(answer=GOOD, data=replace(saga.data, seats=saga.data.seats + 1))

            return effect

        undo = tuple(self.taking(each) for each in compensation)
        return Step(name=name, take=take, compensation=undo)

    @property
    def sagas(self) -> Any:
        steps = (
            self.taking("flight", "cancel-flight"),
            self.taking("visa"),
            self.taking("hotel", "empty", "cancel-hotel"),
        )
        definition = SagaDefinition(kind="trip", data=Trip, steps=steps)
        return self.service.engine({"trip": definition})

    async def begun(self) -> Saga[Trip]:
        saga = trip()
        await self.service.begin(saga)
        return saga


async def test_a_saga_goes_through_its_steps_and_is_answered():
    agency = Agency()
    saga = await agency.begun()

    assert await agency.sagas.drive(saga) == GOOD

    assert agency.done == ["flight", "visa", "hotel"]
    assert agency.service.answers == {("asha", "key-0001"): GOOD}
    assert agency.service.saga(saga.id).data == Trip(seats=5)


async def test_a_refused_saga_undoes_what_it_did_and_answers_with_the_refusal():
    agency = Agency(full={"hotel"})
    saga = await agency.begun()

    answer = await agency.sagas.drive(saga)

    assert agency.done == ["flight", "visa", "empty", "cancel-hotel", "cancel-flight"]
    assert (answer.status, b"no-room" in answer.body) == (409, True)
    assert agency.service.answers == {("asha", "key-0001"): answer}
    assert agency.service.saga(saga.id).refusal_code == "no-room"


async def test_what_is_away_is_asked_again_later_and_undoes_nothing():
    agency = Agency(away={"visa"})
    saga = await agency.begun()

    with pytest.raises(Unavailable):
        await agency.sagas.drive(saga)
    assert (agency.done, agency.service.answers) == (["flight"], {})
    agency.away.clear()
    agency.service.pass_time(60)
    assert await agency.sagas.finish_due() == 1

    assert agency.done == ["flight", "visa", "hotel"]
    assert agency.service.answers == {("asha", "key-0001"): GOOD}


async def test_a_compensation_that_is_refused_is_tried_until_it_is_not():
    agency = Agency(full={"hotel", "cancel-hotel"})
    saga = await agency.begun()

    with pytest.raises(Unavailable):
        await agency.sagas.drive(saga)
    assert agency.service.answers == {}
    agency.full.discard("cancel-hotel")
    agency.service.pass_time(60)
    await agency.sagas.finish_due()

    assert agency.done[-2:] == ["cancel-hotel", "cancel-flight"]
    assert agency.service.answers["asha", "key-0001"].status == 409


async def test_who_finds_a_step_taken_stops():
    agency = Agency()
    saga = await agency.begun()
    async with agency.service.database.transaction():
        await agency.service.store.move(replace(saga, step="hotel"))

    assert await agency.sagas.drive(saga) is None

    assert agency.done == []
