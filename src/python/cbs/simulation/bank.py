"""All services in one event loop, each as its process would run it, on simulated servers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from purgatory import AsyncCircuitBreakerFactory

import cbs.accounts.main
import cbs.audit.main
import cbs.customers.main
import cbs.ledger.main
import cbs.payments.main
from cbs.bank import SERVICES
from cbs.customers.main import CustomersSettings
from cbs.kernel.principal import Kind, Principal
from cbs.kernel.refusal import NotSignedIn, Refusal
from cbs.platform.auth import Tokens
from cbs.platform.database import UNREACHABLE
from cbs.platform.idempotency import PostgresKeys
from cbs.platform.inbox import PostgresInbox
from cbs.platform.migrations import check_migrated
from cbs.platform.outbox import PostgresOutbox
from cbs.platform.problem import answer_of
from cbs.platform.process import started
from cbs.platform.service import Runtime, Service, not_permitted_in, service_of
from cbs.platform.settings import Settings
from cbs.simulation.app import app_of
from cbs.simulation.database import Server, SimulatedDatabase
from cbs.simulation.network import Network, SimulatedBus
from cbs.simulation.process import Process
from cbs.simulation.schemas import PLUMBING, SCHEMAS, begin
from cbs.simulation.streams import Streams
from cbs.simulation.tables import Tables

MAINS: dict[str, Any] = {
    "customers": cbs.customers.main,
    "accounts": cbs.accounts.main,
    "ledger": cbs.ledger.main,
    "payments": cbs.payments.main,
    "audit": cbs.audit.main,
}
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
    """`note` is told what happens; `vault_key` is a file that the customers service reads."""

    random: Random
    now: Callable[[], datetime]
    note: Callable[[str], None]
    vault_key: Path
    began: datetime
    failed: Callable[[BaseException], None]
    servers: dict[str, Server] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    stopped: bool = False
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        streams = Streams(self.random, self._delay, self._lost)
        self.network = Network(self.random, streams)
        for name in SERVICES:
            tables = Tables(PLUMBING | SCHEMAS[name], self.now)
            begin(name, tables)
            self.servers[name] = Server(tables, partial(self.random.expovariate, 2000))

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
            service = service_of(self._plumbing(name, process), MAINS[name].build, app_of=app_of)
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

    def _plumbing(self, name: str, process: Process) -> Runtime[Any]:
        tokens = SimulatedTokens(keys={})
        database = SimulatedDatabase(self.servers[name], lambda: process.alive)
        outbox = PostgresOutbox(service=name, database=database)
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
        return Runtime(
            declaration=MAINS[name].DECLARATION,
            settings=self._settings(name),
            tokens=tokens,
            principal=tokens.principal(name),
            database=database,
            outbox=outbox,
            inbox=PostgresInbox(database=database),
            bus=bus,
            requests=PostgresKeys(database=database, refused=answer_of),
            not_permitted=not_permitted,
            checks=(partial(check_migrated, name, database),),
        )

    def _settings(self, name: str) -> Settings:
        if name == "customers":
            return CustomersSettings(
                postgres_url="", nats_url="", jwks_file=NOWHERE, vault_key_file=self.vault_key
            )
        return Settings(postgres_url="", nats_url="", jwks_file=NOWHERE)
