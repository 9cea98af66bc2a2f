"""A request that is broken at each of its statements, and asked again, as if nothing had been.

On real PostgreSQL, for every statement that a request leads to, here and in the services that it
asks: the statement fails; the connection is lost at it; it takes effect, and its answer is lost.
Then the same is asked again, with the same key: one effect, one answer, and the books hold.

Nothing else goes on meanwhile, so what the request did is seen by counting rows.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import Connection
from structlog.testing import capture_logs

from cbs.bank import SERVICES
from cbs.kernel.merkle import Tree
from cbs.platform import process
from cbs.platform.consumer import Consumer
from cbs.platform.database import UNREACHABLE, Database
from cbs.platform.declaration import declaration_of
from cbs.platform.invariants import CannotSay, Row, checks_of
from cbs.platform.relay import Relay
from tests.refusals import GRANTED, USED_KEY, Ask, Operation, RuleBook, Send
from tests.serving import Served

FAILS, LOST, UNANSWERED = "fails", "is lost", "is not answered"
TRIES_MAX = 5
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
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

    async def nothing(self_or_task: Any) -> None:
        if asyncio.iscoroutine(self_or_task):
            self_or_task.close()
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
        before = await self.bench.state()
        with self.bench.statements.looked_at(self.place, self.how) as self.sent:
            answer = await _answer(ask)
        for _ in range(TRIES_MAX):
            if answer is not None and is_answer(answer):
                break
            await self.bench.run_out_leases()
            answer = await _answer(ask)
        assert answer is not None and is_answer(answer), f"{self}: never answered, but {answer}"
        again = await ask()
        assert _said(again) == _said(answer), f"{self}: {_said(again)!r} after {_said(answer)!r}"
        after = await self.bench.state()
        self.effect = {name: after[name] - before.get(name, 0) for name in after}
        return answer

    def __str__(self) -> str:
        at_place = dict(enumerate(self.sent)).get(-1 if self.place is None else self.place)
        return f"{self.place}: {at_place} {self.how}"


async def _answer(ask: Ask) -> Any:
    """None if it is not known."""
    try:
        return await ask()
    except (*UNREACHABLE, asyncpg.PostgresError):
        return None


def _said(answer: Any) -> object:
    """Of HTTP, or of the bus, or of a task."""
    return getattr(answer, "content", None) or getattr(answer, "data", answer)


async def nothing_else() -> dict[str, int]:
    return {}


@dataclass
class Bench:
    """Databases of services that do nothing by themselves. `measured` is what else must be the same
    however a request was broken; rows of what is `uncounted` come as they must."""

    statements: Statements
    databases: Mapping[str, Database]
    measured: Callable[[], Awaitable[dict[str, int]]] = nothing_else
    uncounted: tuple[str, ...] = ()

    @classmethod
    def of(cls, statements: Statements, *services: Served) -> "Bench":
        return cls(statements, {s.service.name: s.service.runtime.postgres for s in services})

    async def prove(self, operation: Operation[Any, Any], world: Any) -> None:
        await self.prove_asking(lambda send: operation.ask(world, operation.good(send=send)))

    async def prove_asking(self, ask: Callable[[Send], Awaitable[str]]) -> int:
        """Returns how many statements were broken: none, if a good request changes nothing."""
        whole = Attempt(self)
        said = await ask(whole.send)
        assert said == GRANTED, said
        if not any(whole.effect.values()):
            return 0
        wrong = []
        for place, statement in enumerate(whole.sent):
            for how in statement.ways:
                broken = Attempt(self, place, how)
                said = await ask(broken.send)
                if said != GRANTED:
                    wrong.append(f"{broken}: {said}")
                elif broken.effect != whole.effect:
                    wrong.append(f"{broken}: {broken.effect}, not {whole.effect}")
                elif str(broken.sent[place]) != str(statement):
                    wrong.append(f"{broken}: where {statement} was to be sent")
        assert not wrong, "\n".join(wrong)
        await self._books_hold()
        return len(whole.sent)

    async def state(self) -> dict[str, int]:
        """How many rows there are in each table, and what else is measured."""
        found = await self.measured()
        for name, database in self.databases.items():
            tables = [row["tablename"] for row in await database.fetch(TABLES)]
            counts = ", ".join(f'(SELECT count(*) FROM "{table}")' for table in tables)
            row = await database.fetchrow(f"SELECT {counts}")
            found |= {f"{name}.{table}": n for table, n in zip(tables, row, strict=True)}
        return {name: n for name, n in found.items() if name not in self.uncounted}

    async def run_out_leases(self) -> None:
        """As if the time had passed for which whoever was lost may still be working."""
        for name, database in self.databases.items():
            if name in SERVICES and "saga" in declaration_of(name).keeps:
                await database.execute(RUN_OUT)

    async def _books_hold(self) -> None:
        async with AsyncExitStack() as stack:
            connections = {}
            for name, database in self.databases.items():
                connections[name] = await asyncpg.connect(database.config["dsn"])
                stack.push_async_callback(connections[name].close)
            live: Any = Live(connections)
            for check in (each for name in SERVICES if name in live for each in checks_of(name)):
                with suppress(CannotSay):
                    assert not [dict(row) async for row in check.find(live)], check.promise


@dataclass
class Live:
    """The databases as they are now, for who looks for rows that break an invariant."""

    connections: Mapping[str, Any]

    def __contains__(self, service: str) -> bool:
        return service in self.connections

    def __getitem__(self, service: str) -> Any:
        if service not in self.connections:
            raise CannotSay(f"{service} is not here")
        return self.connections[service]

    async def rows(self, service: str, query: str, *values: Any) -> AsyncIterator[Row]:
        for row in await self[service].fetch(query, *values):
            yield row

    async def batches(self, service: str, query: str, *values: Any) -> AsyncIterator[list[Row]]:
        yield await self[service].fetch(query, *values)

    async def now(self, service: str, query: str, *values: Any) -> list[Row]:
        return list(await self[service].fetch(query, *values))

    def verified(self, service: str) -> int:
        return 0

    @property
    def verified_tree(self) -> Tree:
        return Tree()

    def must_have_heard(self, service: str, source: str) -> int:
        raise CannotSay("nobody hears anybody here")


def changing(book: RuleBook) -> list[str]:
    """The operations that change something, or may: over HTTP these are the ones with a key."""
    return [n for n, each in book.items() if n.startswith("cbs.") or USED_KEY in each.rules]
