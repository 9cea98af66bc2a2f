"""A service is its parts on the same plumbing, described before anything is started."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar import Litestar
from piccolo.table import Table

from cbs.kernel.event import Event
from cbs.kernel.principal import Kind, Principal
from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus, Endpoint, NotPermittedHook
from cbs.platform.connections import FACTS, Connections
from cbs.platform.database import Database
from cbs.platform.edge import Edge
from cbs.platform.hearing import Digest, FactsAfter, FactsPage, Listener
from cbs.platform.http import http_app
from cbs.platform.operations import DeadLetters, dead_letter_routes, request_routes
from cbs.platform.outbox import Outbox
from cbs.platform.problem import answer_of
from cbs.platform.relay import Relay
from cbs.platform.requests import PostgresRequests, Requests
from cbs.platform.settings import Settings

S = TypeVar("S", bound=Settings)

Queue = Callable[[], Awaitable[int]]
Task = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRefused(Event):
    """Somebody asked for what their token does not permit."""

    about = "principal"

    principal: str
    permission: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plumbing(Generic[S]):
    """What a service's own parts are built on."""

    connections: Connections
    settings: S
    tokens: Tokens
    principal: Principal
    database: Database
    outbox: Outbox
    bus: Bus
    requests: PostgresRequests
    not_permitted: NotPermittedHook

    @classmethod
    def of(cls, connections: Connections, settings: S) -> "Plumbing[S]":
        """Nothing is connected yet."""
        jwks, own = settings.jwks_file, settings.service_token_file
        tokens = Tokens.of_file(jwks) if os.path.getsize(jwks) else Tokens(keys={})
        own_token = own.read_text().strip() if own else ""
        database = Database(
            settings.postgres_url, connections_max=settings.postgres_connections_max
        )
        outbox = Outbox(service=connections.service, database=database)

        async def not_permitted(principal: Principal, permission: str, operation: str) -> None:
            fact = PermissionRefused(
                principal=principal.id, permission=permission, operation=operation
            )
            async with database.transaction():
                await outbox.put(fact)

        return cls(
            connections=connections,
            settings=settings,
            tokens=tokens,
            principal=tokens.principal(own_token)
            if own_token
            else Principal(id=connections.service, kind=Kind.SERVICE, permissions=frozenset()),
            database=database,
            outbox=outbox,
            bus=Bus(
                service=connections.service,
                tokens=tokens,
                own_token=own_token,
                sha=settings.sha,
                on_not_permitted=not_permitted,
            ),
            requests=PostgresRequests(database=database, refused=answer_of),
            not_permitted=not_permitted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What makes a service this service. `digests` hear the facts of the source they are under.

    `checks` are made before anything is answered, and raise Misconfigured. `tasks` run until they
    are cancelled; one that ends or fails ends the service.
    """

    routes: Sequence[Any]
    provide: Mapping[str, Any]
    facts: Sequence[type[Event]]
    tables: Sequence[type[Table]] = ()
    endpoints: Sequence[Endpoint[Any]] = ()
    digests: Mapping[str, Digest] = field(default_factory=dict)
    checks: Sequence[Task] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    requests: Requests | None = None


Build = Callable[[Plumbing[S]], Parts]


@dataclass(frozen=True, slots=True)
class Service:
    """The parts put together with what all services have."""

    plumbing: Plumbing[Any]
    parts: Parts
    app: Litestar
    edge: Edge
    relay: Relay
    listeners: Sequence[Listener]
    letters: DeadLetters

    @property
    def name(self) -> str:
        return self.plumbing.connections.service

    @property
    def facts(self) -> tuple[type[Event], ...]:
        return (*self.parts.facts, PermissionRefused)

    def endpoints(self) -> list[Endpoint[Any]]:
        return [*self.parts.endpoints, _facts_endpoint(self.plumbing.outbox)]

    async def queues(self) -> dict[str, int]:
        """How much waits where; each returns to nothing when the bank is at rest."""
        waiting = {
            "http": self.edge.in_flight,
            "turned-away": self.edge.held,
            "bus": self.plumbing.bus.in_flight,
            "outbox": await self.relay.waiting(),
            "dead-letters": await self.letters.waiting(),
        }
        return waiting | {name: await queue() for name, queue in self.parts.queues.items()}


def service_of(
    plumbing: Plumbing[S], build: Build[S], *, app_of: Callable[..., Litestar] = http_app
) -> Service:
    """`app_of` is http_app, or what remembers what it made."""
    parts = build(plumbing)
    name = plumbing.connections.service
    assert set(parts.digests) == set(plumbing.connections.hears), "hears what it declares"
    assert {e.verb for e in parts.endpoints} == set(plumbing.connections.serves), "serves the same"
    plumbing.database.bind(*parts.tables)
    listeners = [
        Listener(
            service=name,
            source=source,
            database=plumbing.database,
            bus=plumbing.bus,
            principal=plumbing.principal,
            digest=digest,
        )
        for source, digest in parts.digests.items()
    ]
    letters = DeadLetters(database=plumbing.database, listeners=listeners)
    app = app_of(
        service=name,
        routes=[*parts.routes, *request_routes(name), *dead_letter_routes(name)],
        provide={
            "requests": parts.requests or plumbing.requests,
            "letters": letters,
            **parts.provide,
        },
        on_not_permitted=plumbing.not_permitted,
    )
    return Service(
        plumbing=plumbing,
        parts=parts,
        app=app,
        edge=Edge(app=app, tokens=plumbing.tokens),  # type: ignore[arg-type]
        relay=Relay(
            outbox=plumbing.outbox, bus=plumbing.bus, replicas=plumbing.settings.nats_replicas
        ),
        listeners=listeners,
        letters=letters,
    )


def _facts_endpoint(outbox: Outbox) -> Endpoint[FactsAfter]:
    async def facts(asked: FactsAfter, _key: str) -> FactsPage:
        # The head first: what is written after it is not yet asked for.
        head = await outbox.head()
        page = await outbox.after(asked.position, limit=asked.limit)
        return FactsPage(head=head, bodies=[body.decode() for _, _, body in page])

    return Endpoint(
        verb=FACTS,
        takes=FactsAfter,
        gives=FactsPage,
        handle=facts,
        permission="internal",
        doc="The facts after a position, oldest first, from the outbox",
    )
