"""Clients of HTTP, through whichever gateway Consul lists, and one on the bus; each keeps count.

Nothing is asked twice in silence: whatever was not answered at the first try is in `silences`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import msgspec

from cbs.kernel.principal import Kind, Principal
from cbs.kernel.refusal import Refusal
from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus
from cbs.platform.context import Context, within
from cbs.tools.cluster.api import Declined, NoCluster
from cbs.tools.lab.chaos import population
from cbs.tools.lab.chaos.client import ChaosClient, Holder
from cbs.tools.lab.chaos.records import Records, Violation
from cbs.tools.lab.chaos.resolve_unanswered import Settlement
from cbs.tools.local import secrets, state
from cbs.tools.local.public_api import HttpConnection, PublicApi
from tests.availability.bank import POLL_SECONDS, SETTLED_SECONDS_MAX, Bank

CLIENTS, ASKER, ASK_SECONDS = 12, "accounts", 0.02


@dataclass(slots=True)
class Balanced(PublicApi):
    """A client behind a load balancer: a connection goes to a gateway that Consul calls ready."""

    places: list[tuple[str, int]] = field(default_factory=list)
    random: Random = field(default_factory=lambda: Random(1))

    def follow(self, bank: Bank) -> None:
        with suppress(NoCluster, Declined):  # a balancer keeps what it knew
            found = bank.consul.get("/v1/health/service/cbs-gateway", passing="1")
            services = [each["Service"] for each in found or []]
            if services:
                self.places = [(each["Address"], each["Port"]) for each in services]

    async def _connection(self) -> HttpConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is None:
                continue
            if connection.transport.get_extra_info("peername")[:2] in self.places:
                return connection
            connection.close()
        host, port = self.random.choice(self.places)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(HttpConnection, host, port)
        return connection


@dataclass(slots=True)
class Caller:
    """Asks the ledger on the bus for balances, as the accounts service does."""

    bus: Bus
    numbers: list[str]
    answered: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    enough: bool = False

    @classmethod
    @asynccontextmanager
    async def on(cls, bank: Bank, numbers: list[str]) -> AsyncIterator["Caller"]:
        folder, now = bank.folder, state.read(bank.folder.state)
        assert now is not None
        token = secrets.service_token(folder, ASKER).read_text().strip()
        bus = Bus(service=ASKER, tokens=Tokens(keys={}), own_token=token)
        await bus.open(url=now.nats_url, nkey_file=secrets.nkey_seed(folder, ASKER))
        try:
            yield cls(bus, numbers)
        finally:
            await bus.close()

    async def run(self) -> None:
        own = Principal(id=ASKER, kind=Kind.SERVICE, permissions=frozenset())
        # Cancelling is not enough: an answer that comes in the same moment hides it (Python 3.11).
        while not self.enough:
            with within(Context(principal=own, token=self.bus.own_token)):
                try:
                    asked = {"numbers": self.numbers}
                    await self.bus.call("ledger.accounts", asked, msgspec.Raw, own=True)
                    self.answered.append(asyncio.get_running_loop().time())
                except Refusal as refusal:
                    self.failed[f"{refusal.code}: {refusal.detail}"] += 1
            await asyncio.sleep(ASK_SECONDS)


@dataclass(slots=True)
class Load:
    """Clients who ask for everything that there is until told, and are sure of what they heard."""

    api: Balanced
    records: Records
    settlement: Settlement
    caller: Caller
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _endless: list["asyncio.Task[None]"] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def on(cls, bank: Bank, name: str) -> AsyncIterator["Load"]:
        token = bank.folder.token("operator").read_text().strip()
        api = Balanced("http://bank", token, 2 * CLIENTS)
        await asyncio.to_thread(api.follow, bank)
        following = asyncio.create_task(_follow(api, bank))
        records = Records()
        try:
            holders = await population.populate(api, records, name=name, size=CLIENTS)
            settlement = Settlement(api=api, records=records, holders=holders, random=Random(name))
            numbers = [each.number for each in holders]
            async with Caller.on(bank, numbers) as caller:
                load = cls(api, records, settlement, caller)
                load._endless += [following, asyncio.create_task(caller.run())]
                load._begin(name, holders)
                try:
                    yield load
                finally:
                    caller.enough = True
                    load._enough.set()
                    await _ended([*load._tasks, *load._endless])
        finally:
            await _ended([following])
            api.close()

    def _begin(self, name: str, holders: list[Holder]) -> None:
        numbers = [each.number for each in holders]
        for place, own in enumerate(holders):
            client = ChaosClient(
                name=f"{name}-{place}",
                api=self.api,
                records=self.records,
                random=Random(f"{name}-{place}"),
                own=own,
                numbers=numbers,
                enough=self._enough,
            )
            self._tasks.append(asyncio.create_task(client.run()))

    @property
    def answered(self) -> list[float]:
        """When, each for the first time, in order."""
        return sorted(asked.told_at for asked in self.records.all if asked.told_at)

    @property
    def failed(self) -> Counter[str]:
        """What was not answered at once, over HTTP and on the bus."""
        return self.records.silences + self.caller.failed

    async def goes_on(self, answers: int) -> None:
        """Returns when so many more were answered, over HTTP and on the bus."""
        wanted, calls = len(self.answered) + answers, len(self.caller.answered) + answers
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while len(self.answered) < wanted or len(self.caller.answered) < calls:
                assert not [task for task in (*self._tasks, *self._endless) if task.done()]
                await asyncio.sleep(POLL_SECONDS)

    async def settled(self) -> tuple[str, list[Violation]]:
        """What there is to say of it, and what was promised and not kept."""
        self._enough.set()
        await asyncio.gather(*self._tasks)
        answered, counts = self.answered, self.records.counts()
        said = (
            f"{counts['asked']} requests, {counts['accepted']} accepted, {counts['refused']}"
            f" refused, {counts['unanswered']} left open; tries without an answer"
            f" {dict(self.records.silences)}; longest pause {_pause(answered):.2f} s; on the bus"
            f" {len(self.caller.answered)} calls, failed {dict(self.caller.failed)}, longest pause"
            f" {_pause(self.caller.answered):.2f} s"
        )
        violations = await self.settlement()
        return said, [*self.records.violations, *violations]


def _pause(times: list[float]) -> float:
    return max(after - before for before, after in pairwise(times))


async def _follow(api: Balanced, bank: Bank) -> None:
    while True:
        await asyncio.to_thread(api.follow, bank)
        await asyncio.sleep(POLL_SECONDS)


async def _ended(tasks: list["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
