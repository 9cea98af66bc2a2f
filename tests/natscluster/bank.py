"""A bank with three NATS servers on Nomad, and clients who keep what they were told."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from cbs.cluster.api import Api
from cbs.cluster.jobs import Jobs
from cbs.dev.breaking import population
from cbs.dev.breaking.client import Client
from cbs.dev.breaking.records import Records, Violation
from cbs.dev.breaking.settling import Settlement
from cbs.dev.folder import SERVICES, Folder
from cbs.dev.public_api import PublicApi
from cbs.dev.running import broker, secrets
from cbs.platform.relay import stream_name

CLIENTS, JOB = 12, "cbs-nats"
SETTLED_SECONDS_MAX, POLL_SECONDS = 120, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    folder: Folder
    nomad: Api
    consul: Api

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[JetStreamContext]:
        """As the administrator, wherever Consul says that the servers are now."""
        found = await asyncio.to_thread(
            self.consul.get, f"/v1/health/service/{JOB}", passing="1", stale=""
        )
        places = [each["Service"] for each in found]
        seed = secrets.nkey_seed(self.folder, broker.ADMIN)
        client = await nats.connect(
            [f"nats://{each['Address']}:{each['Port']}" for each in places], nkeys_seed=str(seed)
        )
        try:
            yield client.jetstream()
        finally:
            await client.close()

    def kill(self, server: str) -> None:
        """At once, without a word; Nomad starts it again."""
        (alloc,) = (each for each in self.servers() if server == _server_of(each))
        body = {"Task": "nats", "Signal": "SIGKILL"}
        self.nomad.put(f"/v1/client/allocation/{alloc['ID']}/signal", body)

    def servers(self) -> list[dict[str, Any]]:
        allocs = self.nomad.get(f"/v1/job/{JOB}/allocations") or []
        return [each for each in allocs if each["ClientStatus"] == "running"]

    def replaced(self) -> None:
        """Every server, one after the other, as by a release that changes what they get."""
        job = self.nomad.get(f"/v1/job/{JOB}")
        job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] += 1
        jobs = Jobs(nomad=self.nomad, values="", say=lambda _: None)
        before = {each["ID"] for each in self.servers()}
        self.nomad.post("/v1/jobs", {"Job": job})
        while before & {each["ID"] for each in self.servers()}:
            jobs.converge([JOB])


def _server_of(alloc: dict[str, Any]) -> str:
    (index,) = re.findall(r"\[(\d+)\]$", alloc["Name"])
    return f"nats-{index}"


async def kept_by_all(streams: JetStreamContext, servers: int) -> None:
    """Returns when each stream has a leader, and followers who have all that it has."""
    left = {stream_name(service) for service in SERVICES}
    async with asyncio.timeout(SETTLED_SECONDS_MAX):
        while left:
            for name in list(left):
                try:
                    found = (await streams.stream_info(name)).cluster
                except NatsError:
                    continue
                others = (found and found.replicas) or []
                if len(others) == servers - 1 and all(each.current for each in others):
                    left.discard(name)
            await asyncio.sleep(POLL_SECONDS)


@dataclass(slots=True)
class Load:
    """Clients who ask for everything that there is until told, and are sure of what they heard."""

    api: PublicApi
    records: Records
    settlement: Settlement
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Folder, name: str) -> AsyncIterator["Load"]:
        api = PublicApi.of(folder, "operator", at_once_max=2 * CLIENTS)
        records = Records()
        try:
            holders = await population.populate(api, records, name=name, size=CLIENTS)
            random = Random(name)
            settlement = Settlement(api=api, records=records, holders=holders, random=random)
            load = cls(api, records, settlement)
            clients = [
                Client(
                    name=f"{name}-{place}",
                    api=api,
                    records=records,
                    random=Random(f"{name}-{place}"),
                    own=own,
                    numbers=[each.number for each in holders],
                    enough=load._enough,
                )
                for place, own in enumerate(holders)
            ]
            load._tasks += [asyncio.create_task(each.run()) for each in clients]
            yield load
        finally:
            for task in load._tasks:
                task.cancel()
            api.close()

    @property
    def answered(self) -> list[float]:
        """When, each for the first time, in order."""
        return sorted(asked.told_at for asked in self.records.all if asked.told_at)

    async def goes_on(self, answers: int) -> None:
        """Returns when so many more were answered."""
        wanted = len(self.answered) + answers
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while len(self.answered) < wanted:
                assert not [task for task in self._tasks if task.done()]
                await asyncio.sleep(POLL_SECONDS)

    async def settled(self) -> tuple[str, list[Violation]]:
        """What there is to say of it, and what was promised and not kept."""
        self._enough.set()
        await asyncio.gather(*self._tasks)
        answered, counts = self.answered, self.records.counts()
        pause = max(after - before for before, after in pairwise(answered))
        said = (
            f"{counts['asked']} requests, {counts['accepted']} accepted, {counts['refused']}"
            f" refused, {counts['unanswered']} left open; tries without an answer"
            f" {dict(self.records.silences)}; longest pause {pause:.2f} s"
        )
        violations = await self.settlement()
        return said, [*self.records.violations, *violations]
