"""A service is its spec on the same runtime, described before anything is started."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from litestar import Litestar
from litestar.routes import HTTPRoute

from cbs.kernel.event import Event
from cbs.kernel.principal import Kind, Principal
from cbs.platform.admission import Admission
from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus, Endpoint, NotPermittedHook
from cbs.platform.consumer import Consumer, FactsAfter, FactsPage, Handler
from cbs.platform.database import Database, Transactions
from cbs.platform.declaration import FACTS, INTERNAL, OF_EVERY_SERVICE, Declaration
from cbs.platform.http import PERMISSION, http_app
from cbs.platform.idempotency import Keys, KeyStore, PostgresKeys, RequestAnswered
from cbs.platform.inbox import Inbox, PostgresInbox
from cbs.platform.migrations import check_migrated
from cbs.platform.operations import DeadLetters, dead_letter_routes, request_routes
from cbs.platform.outbox import Outbox, PostgresOutbox
from cbs.platform.problem import answer_of
from cbs.platform.relay import Relay
from cbs.platform.settings import Settings

S = TypeVar("S", bound=Settings)

Queue = Callable[[], Awaitable[int]]
Task = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRefused(Event):
    """Somebody asked for what their token does not permit."""

    fact = "permission-refused"
    about = "principal"

    principal: str
    permission: str
    operation: str


def not_permitted_in(database: Transactions, outbox: Outbox) -> NotPermittedHook:
    """Makes it a fact, in a transaction of its own."""

    async def not_permitted(principal: Principal, permission: str, operation: str) -> None:
        fact = PermissionRefused(principal=principal.id, permission=permission, operation=operation)
        async with database.transaction():
            await outbox.put(fact)

    return not_permitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Generic[S]):
    """What a service's own spec is built on. `checks` are made as soon as the database is open."""

    declaration: Declaration
    settings: S
    tokens: Tokens
    principal: Principal
    database: Transactions
    outbox: Outbox
    inbox: Inbox
    requests: Keys
    bus: Bus
    not_permitted: NotPermittedHook
    checks: Sequence[Task] = ()

    @property
    def postgres(self) -> Database:
        """Of a service whose stores are in PostgreSQL: a simulated one has none."""
        assert isinstance(self.database, Database), self.database
        return self.database

    @classmethod
    def of(cls, declaration: Declaration, settings: S) -> "Runtime[S]":
        """Nothing is connected yet."""
        jwks, own = settings.jwks_file, settings.service_token_file
        tokens = Tokens.of_file(jwks) if os.path.getsize(jwks) else Tokens(keys={})
        own_token = own.read_text().strip() if own else ""
        database = Database(
            settings.postgres_url, connections_max=settings.postgres_connections_max
        )
        outbox = PostgresOutbox(
            service=declaration.service, publishes=declaration.facts, database=database
        )
        not_permitted = not_permitted_in(database, outbox)
        return cls(
            declaration=declaration,
            settings=settings,
            tokens=tokens,
            principal=tokens.principal(own_token)
            if own_token
            else Principal(id=declaration.service, kind=Kind.SERVICE, permissions=frozenset()),
            database=database,
            outbox=outbox,
            inbox=PostgresInbox(database=database),
            requests=PostgresKeys(database=database, outbox=outbox, refused=answer_of),
            bus=Bus(
                service=declaration.service,
                tokens=tokens,
                own_token=own_token,
                sha=settings.sha,
                on_not_permitted=not_permitted,
            ),
            not_permitted=not_permitted,
            checks=(partial(check_migrated, declaration.service, database),),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What makes a service this service. `handlers` hear the facts of the source they are under.

    `checks` are made before anything is answered, and raise Misconfigured. `tasks` run until they
    are cancelled; one that ends or fails ends the service.
    """

    routes: Sequence[Any]
    provide: Mapping[str, Any]
    facts: Sequence[type[Event]]
    endpoints: Sequence[Endpoint[Any]] = ()
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    checks: Sequence[Task] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    requests: KeyStore | None = None


Build = Callable[[Runtime[S]], ServiceSpec]


@dataclass(frozen=True, slots=True)
class Service:
    """The spec put together with what all services have."""

    runtime: Runtime[Any]
    spec: ServiceSpec
    app: Litestar
    admission: Admission
    relay: Relay
    consumers: Sequence[Consumer]
    letters: DeadLetters

    @property
    def name(self) -> str:
        return self.runtime.declaration.service

    @property
    def facts(self) -> tuple[type[Event], ...]:
        return (*self.spec.facts, PermissionRefused, RequestAnswered)

    def endpoints(self) -> list[Endpoint[Any]]:
        return [*self.spec.endpoints, _facts_endpoint(self.runtime.outbox)]

    async def queues(self) -> dict[str, int]:
        """How much waits where; each returns to nothing when the bank is at rest."""
        waiting = {
            "http": self.admission.in_flight,
            "turned-away": self.admission.held,
            "bus": self.runtime.bus.in_flight,
            "outbox": await self.runtime.outbox.waiting(),
            "dead-letters": await self.runtime.inbox.waiting(),
        }
        return waiting | {name: await queue() for name, queue in self.spec.queues.items()}


def service_of(
    runtime: Runtime[S], build: Build[S], *, app_of: Callable[..., Litestar] = http_app
) -> Service:
    """`app_of` is http_app, or what remembers what it made."""
    spec = build(runtime)
    name = runtime.declaration.service
    consumers = [
        Consumer(
            service=name,
            source=source,
            database=runtime.database,
            inbox=runtime.inbox,
            bus=runtime.bus,
            principal=runtime.principal,
            handle=handle,
        )
        for source, handle in spec.handlers.items()
    ]
    letters = DeadLetters(inbox=runtime.inbox, consumers=consumers)
    app = app_of(
        service=name,
        routes=[*spec.routes, *request_routes(name), *dead_letter_routes(name)],
        provide={
            "requests": spec.requests or runtime.requests,
            "letters": letters,
            **spec.provide,
        },
        on_not_permitted=runtime.not_permitted,
    )
    _check_built_as_declared(runtime.declaration, spec, app)
    return Service(
        runtime=runtime,
        spec=spec,
        app=app,
        admission=Admission(app=app, tokens=runtime.tokens),  # type: ignore[arg-type]
        relay=Relay(
            outbox=runtime.outbox, bus=runtime.bus, replicas=runtime.settings.nats_replicas
        ),
        consumers=consumers,
        letters=letters,
    )


def _check_built_as_declared(declared: Declaration, spec: ServiceSpec, app: Litestar) -> None:
    """What others go by is what there is; only a permission may be asked for by a handler alone."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    for what, built, said in (
        ("hears", set(spec.handlers), declared.hears),
        ("serves", {endpoint.verb for endpoint in spec.endpoints}, declared.serves),
        ("publishes", {event.fact for event in spec.facts}, declared.publishes),
    ):
        assert built == set(said), (declared.service, what, built ^ set(said))
    asked = {handler.opt.get(PERMISSION) for route in routes for handler in route.route_handlers}
    asked |= {endpoint.permission for endpoint in spec.endpoints}
    undeclared = asked - {*declared.permits, *OF_EVERY_SERVICE.permits, INTERNAL, None}
    assert not undeclared, (declared.service, "permits", undeclared)
    got = {route.path for route in routes if "GET" in route.methods}
    below = declared.entrance.startswith(f"/v1/{declared.service}")
    assert below and declared.entrance in got, (declared.service, "entrance", declared.entrance)


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
        permission=INTERNAL,
        doc="The facts after a position, oldest first, from the outbox",
    )
