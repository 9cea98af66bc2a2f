"""A bank on two nodes with two of what matters, and clients who keep what they were told."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from cbs.bank import SERVICES
from cbs.platform.relay import stream_name
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.jobs import Jobs
from cbs.tools.local import nats_server, secrets
from cbs.tools.local.folder import Folder

CLIENTS, JOB = 12, "cbs-nats"
SECONDS_MAX = 180
SETTLED_SECONDS_MAX, POLL_SECONDS = 120, 0.2


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_SECONDS)


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
        seed = secrets.nkey_seed(self.folder, nats_server.ADMIN)
        client = await nats.connect(
            [f"nats://{each['Address']}:{each['Port']}" for each in places], nkeys_seed=str(seed)
        )
        try:
            yield client.jetstream()
        finally:
            await client.close()

    def kill(self, alloc_id: str, task: str) -> None:
        """At once, without a word; returns when Nomad has started it again."""
        restarts = lambda: self.nomad.get(f"/v1/allocation/{alloc_id}")["TaskStates"][task][
            "Restarts"
        ]
        before = restarts()
        body = {"Task": task, "Signal": "SIGKILL"}
        self.nomad.put(f"/v1/client/allocation/{alloc_id}/signal", body)
        until(lambda: restarts() > before, f"{task} was not started again")

    def kill_server(self, name: str) -> None:
        """One of NATS."""
        (alloc,) = (each for each in self.servers() if name == _server_of(each))
        self.kill(alloc["ID"], "nats")

    def servers(self) -> list[dict[str, Any]]:
        return self.running(JOB)

    def running(self, job_id: str) -> list[dict[str, Any]]:
        allocs = self.nomad.get(f"/v1/job/{job_id}/allocations") or []
        return [each for each in allocs if each["ClientStatus"] == "running"]

    def nodes(self) -> dict[str, str]:
        """Name -> id."""
        return {each["Name"]: each["ID"] for each in self.nomad.get("/v1/nodes")}

    def instances(self, name: str) -> list[dict[str, Any]]:
        """With every check that Consul knows of each, whatever it says."""
        return list(self.consul.get(f"/v1/health/service/cbs-{name}") or [])

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
