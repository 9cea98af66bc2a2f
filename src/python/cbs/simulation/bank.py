"""All services in one event loop, each as its process would run it, on simulated servers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

from purgatory import AsyncCircuitBreakerFactory

from cbs.bank import SERVICES
from cbs.kernel.principal import Kind, Principal
from cbs.kernel.refusal import NotSignedIn, Refusal
from cbs.platform.auth import Tokens
from cbs.platform.database import UNREACHABLE
from cbs.platform.declaration import declaration_of
from cbs.platform.memory.database import MemoryDatabase, MemoryServer
from cbs.platform.memory.stores import MemoryInbox, MemoryKeys, MemoryOutbox
from cbs.platform.problem import answer_of
from cbs.platform.process import started
from cbs.platform.service import Runtime, Service, not_permitted_in, service_of
from cbs.simulation.app import app_of
from cbs.simulation.loop import pause
from cbs.simulation.network import Network, SimulatedBus
from cbs.simulation.process import Process
from cbs.simulation.streams import Streams

TELLER = Principal(
    id="tilda",
    kind=Kind.USER,
    permissions=frozenset(
        {"customers.write", "customers.verify", "customers.read", "accounts.write"}
        | {"accounts.freeze", "accounts.read", "payments.transfer", "payments.cash"}
        | {"payments.read"}
    ),
)
NEVER = 10**9
NOWHERE = Path("/dev/null")


class SimulatedTokens(Tokens):
    """A token is the name of whom it speaks for; the cryptography is tested elsewhere."""

    def principal(self, token: str) -> Principal:
        if token == TELLER.id:
            return TELLER
        if token not in SERVICES:
            raise NotSignedIn
        return Principal(id=token, kind=Kind.SERVICE, permissions=frozenset({"internal"}))


@dataclass(slots=True, eq=False)
class Bank:
    """`note` is told what happens; `key` is a file with what services keep secret."""

    random: Random
    now: Callable[[], datetime]
    note: Callable[[str], None]
    key: Path
    began: datetime
    failed: Callable[[BaseException], None]
    servers: dict[str, MemoryServer] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    stopped: bool = False
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        streams = Streams(self.random, self._delay, self._lost)
        self.network = Network(self.random, streams)
        for name in SERVICES:
            self.servers[name] = MemoryServer(way=self._statement)

    async def _statement(self) -> None:
        await pause(self.random.expovariate(2000))

    def _delay(self) -> float:
        return self.network.delay()

    def _lost(self) -> bool:
        return self.network.lost()

    def boot(self, name: str) -> None:
        process = Process(name)
        self.processes[name] = process
        process.start(self._live(name, process))

    def crash(self, name: str) -> None:
        """At once, in whatever it was doing; what it had not committed never was."""
        process = self.processes[name]
        self.services.pop(name, None)
        process.kill()
        self.servers[name].cut()

    async def boot_again(self, name: str, after: float) -> None:
        await self.processes[name].buried()
        await asyncio.sleep(after)
        if not self.stopped and not self.processes[name].alive:
            self.boot(name)

    async def stop(self) -> None:
        self.stopped = True
        for name in SERVICES:
            self.crash(name)
        for name in SERVICES:
            await self.processes[name].buried()

    async def _live(self, name: str, process: Process) -> None:
        try:
            main, memory = (import_module(f"cbs.{name}.{part}") for part in ("main", "memory"))
            (settings_type,) = get_args(get_type_hints(main.build)["runtime"])
            runtime = self._runtime(name, process, settings_type)
            build = partial(main.build, stores=memory.in_memory)
            service = service_of(runtime, build, app_of=app_of)
            async with started(service, patiently=True) as watch:
                self.services[name] = service
                self.note(f"{name} is up")
                await watch
            self.failed(AssertionError(f"a task of {name} ended"))
        except UNREACHABLE as error:
            # As its process would: it ends, and whoever watches it starts it again.
            self.note(f"{name} did not come up: {error!r}")
        if process.alive:
            asyncio.get_running_loop().call_later(0.5, self._replace, name, process)

    def _replace(self, name: str, process: Process) -> None:
        if process.alive and not self.stopped:
            self.crash(name)
            self.boot(name)

    def _runtime(self, name: str, process: Process, settings_type: type[Any]) -> Runtime[Any]:
        tokens, declaration = SimulatedTokens(keys={}), declaration_of(name)
        database = MemoryDatabase(server=self.servers[name], alive=lambda: process.alive)
        outbox = MemoryOutbox(service=name, publishes=declaration.facts, database=database)
        not_permitted = not_permitted_in(database, outbox)
        bus = SimulatedBus(
            service=name,
            tokens=tokens,
            own_token=name,
            on_not_permitted=not_permitted,
            # It would go by the real clock.
            _breakers=AsyncCircuitBreakerFactory(default_threshold=NEVER, exclude=[Refusal]),
        )
        bus.network, bus.process = self.network, process
        keys = {f"{key}_key_file": self.key for key in declaration.needs.keys}
        return Runtime(
            declaration=declaration,
            settings=settings_type(postgres_url="", nats_url="", jwks_file=NOWHERE, **keys),
            tokens=tokens,
            principal=tokens.principal(name),
            database=database,
            outbox=outbox,
            inbox=MemoryInbox(database=database),
            requests=MemoryKeys(database=database, outbox=outbox, refused=answer_of),
            bus=bus,
            not_permitted=not_permitted,
        )
