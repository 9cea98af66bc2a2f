"""A request that is broken at each of its statements, and asked again, as if nothing had been.

On real PostgreSQL, for every statement that a request leads to, here and in the services that it
asks: the statement fails; the connection is lost at it; it takes effect, and its answer is lost.
Then the same is asked again, with the same key: one effect, one answer, and the books hold.

Nothing else goes on meanwhile, so what the request did is seen by counting rows.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import Connection
from structlog.testing import capture_logs

from cbs.platform import process
from cbs.platform.consumer import Consumer
from cbs.platform.declaration import OF_EVERY_SERVICE
from cbs.platform.invariants import CannotSay, Row, checks_of
from cbs.platform.relay import Relay
from cbs.platform.service import Service
from tests.refusals import GRANTED, Ask, Operation

FAILS, LOST, UNANSWERED = "fails", "is lost", "is not answered"
TRIES_MAX = 5
RUN_OUT = "UPDATE saga SET lease_until = clock_timestamp() - interval '1 s' WHERE step <> 'done'"
SENT_BY = ("execute", "fetch", "fetchrow", "fetchval")


@dataclass(frozen=True, slots=True)
class Statement:
    """`commits`: what was done is durable when it is answered."""

    sql: str
    commits: bool

    @property
    def ways(self) -> tuple[str, ...]:
        return (FAILS, LOST, UNANSWERED) if self.commits else (FAILS, LOST)

    def __str__(self) -> str:
        return re.sub(r"__\w+__", "#", " ".join(self.sql.split()))[:60]


@dataclass
class Statements:
    """What is sent to PostgreSQL while somebody looks; the one at `place` meets with `how`."""

    looking: bool = False
    place: int | None = None
    how: str = ""
    sent: list[Statement] = field(default_factory=list)

    @contextmanager
    def looked_at(self, place: int | None, how: str) -> Iterator[list[Statement]]:
        self.looking, self.place, self.how, self.sent = True, place, how, []
        try:
            yield self.sent
        finally:
            self.looking = False

    async def send(
        self, original: Any, connection: Any, sql: str, *values: Any, **more: Any
    ) -> Any:
        if self.looking:
            alone = not (connection.is_in_transaction() or sql.startswith("BEGIN"))
            self.sent.append(Statement(sql, alone or sql.startswith("COMMIT")))
            if len(self.sent) - 1 == self.place:
                return await self._break(original, connection, sql, *values, **more)
        return await original(connection, sql, *values, **more)

    async def _break(
        self, original: Any, connection: Any, sql: str, *values: Any, **more: Any
    ) -> Any:
        if self.how == FAILS:
            if sql.startswith("COMMIT"):
                await original(connection, "ROLLBACK;")
                raise asyncpg.IntegrityConstraintViolationError("at COMMIT")
            return await original(connection, "SELECT 1 / 0")
        if self.how == UNANSWERED:
            await original(connection, sql, *values, **more)
        connection.terminate()
        return await original(connection, sql, *values, **more)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    """Whatever this process sends; and no service does anything by itself, or says much."""
    seen = Statements()

    def through(original: Any) -> Any:
        async def send(connection: Any, sql: str, *values: Any, **more: Any) -> Any:
            return await seen.send(original, connection, sql, *values, **more)

        return send

    async def nothing(*_: Any) -> None:
        await asyncio.Event().wait()

    for name in SENT_BY:
        monkeypatch.setattr(Connection, name, through(getattr(Connection, name)))
    monkeypatch.setattr(Relay, "run", nothing)
    monkeypatch.setattr(Consumer, "run", nothing)
    monkeypatch.setattr(process, "_as_coroutine", nothing)
    with capture_logs():
        yield seen


@dataclass
class Attempt:
    """Sends a request that is broken at `place`, and again until it is answered, and once more."""

    bench: "Bench"
    place: int | None = None
    how: str = ""
    sent: list[Statement] = field(default_factory=list)
    effect: dict[str, int] = field(default_factory=dict)

    async def send(self, ask: Ask, is_answer: Callable[[Any], bool]) -> Any:
        before = await self.bench.rows()
        with self.bench.statements.looked_at(self.place, self.how) as self.sent:
            answer = await ask()
        for _ in range(TRIES_MAX):
            if is_answer(answer):
                break
            await self.bench.run_out_leases()
            answer = await ask()
        assert _said(await ask()) == _said(answer), "one answer"
        after = await self.bench.rows()
        self.effect = {name: after[name] - before[name] for name in after}
        return answer


def _said(answer: Any) -> bytes:
    """Of HTTP, or of the bus."""
    said: bytes = answer.content if hasattr(answer, "content") else answer.data
    return said


@dataclass
class Bench:
    """Services that do nothing by themselves, and whose statements are looked at."""

    statements: Statements
    services: Sequence[Service]

    async def prove(self, operation: Operation[Any, Any], world: Any) -> int:
        """How many statements were broken: none, if a good request changes nothing."""
        whole = Attempt(self)
        said = await operation.ask(world, operation.good(send=whole.send))
        assert said == GRANTED, said
        if not any(whole.effect.values()):
            return 0
        wrong = []
        for place, statement in enumerate(whole.sent):
            for how in statement.ways:
                broken = Attempt(self, place, how)
                said = await operation.ask(world, operation.good(send=broken.send))
                if said != GRANTED:
                    wrong.append(f"{place}: {statement} {how}: {said}")
                elif broken.effect != whole.effect:
                    wrong.append(f"{place}: {statement} {how}: {broken.effect}, not {whole.effect}")
                elif str(broken.sent[place]) != str(statement):
                    wrong.append(f"{place}: {statement} was not sent, but {broken.sent[place]}")
        assert not wrong, "\n".join(wrong)
        await self._books_hold()
        return len(whole.sent)

    async def rows(self) -> dict[str, int]:
        """How many there are in each table."""
        found: dict[str, int] = {}
        for service in self.services:
            keeps = (*service.runtime.declaration.keeps, *OF_EVERY_SERVICE.keeps)
            counts = ", ".join(f'(SELECT count(*) FROM "{table}")' for table in keeps)
            row = await service.runtime.postgres.fetchrow(f"SELECT {counts}")
            found |= {f"{service.name}.{t}": n for t, n in zip(keeps, row, strict=True)}
        return found

    async def run_out_leases(self) -> None:
        """As if the time had passed for which whoever was lost may still be working."""
        for service in self.services:
            if "saga" in service.runtime.declaration.keeps:
                await service.runtime.postgres.execute(RUN_OUT)

    async def _books_hold(self) -> None:
        live: Any = Live({service.name: service for service in self.services})
        for check in (check for name in live.services for check in checks_of(name)):
            if set(check.reads) <= live.services.keys():
                try:
                    assert not [dict(row) async for row in check.find(live)], check.promise
                except CannotSay:
                    continue


@dataclass
class Live:
    """The databases as they are now, for who looks for rows that break an invariant."""

    services: Mapping[str, Service]

    def __getitem__(self, service: str) -> Any:
        return self.services[service].runtime.postgres

    async def rows(self, service: str, query: str, *values: Any) -> AsyncIterator[Row]:
        for row in await self[service].fetch(query, *values):
            yield row

    async def batches(self, service: str, query: str, *values: Any) -> AsyncIterator[list[Row]]:
        yield await self[service].fetch(query, *values)

    async def now(self, service: str, query: str, *values: Any) -> list[Row]:
        return list(await self[service].fetch(query, *values))

    def must_have_heard(self, service: str, source: str) -> int:
        raise CannotSay("nobody hears anybody here")
