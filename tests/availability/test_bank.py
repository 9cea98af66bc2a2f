"""The whole bank on Nomad and Consul, asked all the time: releases and faults that nobody notices.

One cluster for all: two nodes, two ledgers, two gateways, three NATS servers. A test says what it
measured.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cbs.platform.relay import stream_name
from cbs.tools.local import state
from tests.availability.bank import POLL_SECONDS, Bank, kept_by_all, until
from tests.availability.load import Load
from tests.availability.releases import Version
from tests.cluster.clone import Operator, operating
from tests.platform.clustered import leader_of

SERVERS, STREAM = 3, stream_name("ledger")
LEDGER, GATEWAY = "cbs-ledger", "cbs-gateway"
FURTHER = "cbs-2"  # the node that can be drained: the other has PostgreSQL
VALUES = Path(__file__).parent / "values.hcl"
BEFORE, DURING, AFTER = 60, 60, 60
pytestmark = [
    pytest.mark.timeout(900),
    # nats-py leaves the socket of a server that turned it away to the garbage collector. Where a
    # machine has several clusters, another's may be at a port that one of ours has just left.
    pytest.mark.filterwarnings(
        "ignore:.*function StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    with operating() as operator:
        words = ("--detach", "--clients", "2", "--values", str(VALUES))
        operator.cbs("cluster", "dev", *words)
        yield operator


@pytest.fixture
def bank(operator: Operator) -> Bank:
    return Bank(folder=operator.folder, nomad=operator.api("nomad"), consul=operator.api("consul"))


@pytest.fixture
def during(bank, operator, capsys):
    """A block in which clients ask; after it everything holds that was promised to them."""

    @asynccontextmanager
    async def asked(what: str) -> AsyncIterator[Load]:
        async with Load.on(bank, what.replace(" ", "-")) as load:
            await load.goes_on(BEFORE)
            yield load
            await load.goes_on(AFTER)
            said, violations = await load.settled()
        with capsys.disabled():
            print(f"\n{what}: {said}")  # noqa: T201 (measured)
        assert not violations
        assert json.loads(operator.cbs("verify", "--json", "--data", ".cbs-cluster"))

    return asked


class Watched:
    """What Consul says of a service's instances, as long as the block lasts."""

    def __init__(self, bank: Bank, name: str) -> None:
        self.bank, self.name = bank, name
        self.least, self.turned = 99, set[str]()
        self._well: set[str] = set()

    async def __aenter__(self) -> "Watched":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            found = await asyncio.to_thread(self.bank.instances, self.name)
            states = {
                each["Service"]["ID"]: {check["Status"] for check in each["Checks"]}
                for each in found
            }
            well = {name for name, said in states.items() if said == {"passing"}}
            self.least = min(self.least, len(well))
            # What leaves is taken out of the list, and not first called ill.
            self.turned |= {name for name in self._well - well if name in states}
            self._well |= well
            await asyncio.sleep(POLL_SECONDS)


async def test_a_release_of_the_ledger_is_noticed_by_nobody(bank, during):
    """Also Nomad 4566 and 4672: a promoted canary stays ready, and there is never a gap."""
    async with during("release of the ledger") as load, Watched(bank, "ledger") as watched:
        version = await asyncio.to_thread(Version.of, bank, LEDGER, "1" * 40)
        await asyncio.to_thread(version.stands)
        await load.goes_on(DURING)
        await asyncio.to_thread(version.promote)
    shas = {each["Service"]["Meta"]["sha"] for each in bank.instances("ledger")}

    assert load.failed == Counter()
    assert shas == {version.sha}
    # After the promotion Nomad replaces what is left in its place, one at a time.
    assert watched.least >= 1
    assert not watched.turned


async def test_a_release_of_the_gateway_is_noticed_by_nobody(bank, during):
    async with during("release of the gateway") as load, Watched(bank, "gateway") as watched:
        version = await asyncio.to_thread(Version.of, bank, GATEWAY, "2" * 40)
        await asyncio.to_thread(version.stands)
        await load.goes_on(DURING)
        await asyncio.to_thread(version.promote)

    assert load.failed == Counter()
    assert watched.least >= 1


async def test_a_version_that_is_never_ready_goes_back_and_nobody_healthy_is_touched(bank, during):
    """Nomad 3836: an auto-revert killed the healthy ones first."""

    def cannot(job):
        (group,) = job["TaskGroups"]
        group["Tasks"][0]["Env"]["CBS_POSTGRES_URL"] = "postgresql://nobody@127.0.0.1:1/none"
        group["Update"]["HealthyDeadline"] = 20 * 10**9
        group["Update"]["ProgressDeadline"] = 25 * 10**9

    there = {alloc["ID"] for alloc in bank.running(LEDGER)}
    async with during("a version that is never ready") as load:
        version = await asyncio.to_thread(Version.of, bank, LEDGER, "3" * 40, cannot)
        bad = version.deployment["ID"]
        ended = lambda: bank.nomad.get(f"/v1/deployment/{bad}")["Status"] == "failed"
        await asyncio.to_thread(until, ended, "the bad version is still there")
        now = {alloc["ID"] for alloc in bank.running(LEDGER)}

    assert load.failed == Counter()
    assert there <= now
    assert "3" * 40 not in {each["Service"]["Meta"]["sha"] for each in bank.instances("ledger")}


async def test_a_canary_whose_node_is_drained_comes_back_elsewhere(bank, during):
    """Nomad 25726, 14489 and 7432; all that was on the node moves, and nobody notices."""
    node = bank.nodes()[FURTHER]
    others = [each for each in bank.nodes().values() if each != node]
    for each in others:
        bank.nomad.put(f"/v1/node/{each}/eligibility", {"Eligibility": "ineligible"})
    try:
        version = await asyncio.to_thread(Version.of, bank, LEDGER, "4" * 40)
        canary = await asyncio.to_thread(version.stands)
    finally:
        for each in others:
            bank.nomad.put(f"/v1/node/{each}/eligibility", {"Eligibility": "eligible"})
    assert canary["NodeID"] == node

    async with during("a node is drained") as load:
        drain = {"DrainSpec": {"Deadline": 150 * 10**9, "IgnoreSystemJobs": False}}
        bank.nomad.put(f"/v1/node/{node}/drain", drain)
        drained = lambda: (
            not [
                alloc
                for alloc in bank.nomad.get(f"/v1/node/{node}/allocations") or []
                if alloc["ClientStatus"] in ("running", "pending")
            ]
        )
        await asyncio.to_thread(until, drained, "the node is not drained")
        moved = await asyncio.to_thread(version.stands)
        bank.nomad.put(f"/v1/node/{node}/drain", {"DrainSpec": None, "MarkEligible": True})
        await asyncio.to_thread(version.promote)

    assert load.failed == Counter()
    assert moved["NodeID"] != node
    assert {each["Service"]["Meta"]["sha"] for each in bank.instances("ledger")} == {"4" * 40}


async def test_a_ledger_that_is_killed_costs_nobody_anything(bank, during):
    async with during("a ledger is killed") as load:
        await asyncio.to_thread(bank.kill, bank.running(LEDGER)[0]["ID"], "service")
        await load.goes_on(DURING)
        both = lambda: len(bank.consul.get("/v1/health/service/cbs-ledger", passing="1")) == 2
        await asyncio.to_thread(until, both, "it is not ready again")

    assert not load.caller.failed


def pid_of(bank: Bank, program: str) -> int:
    now = state.read(bank.folder.state)
    assert now is not None
    return next(each.pid for each in now.programs if each.name == program)


async def test_consul_may_be_killed(bank, during):
    pid = pid_of(bank, "consul")
    async with during("Consul is killed") as load:
        os.kill(pid, signal.SIGKILL)
        await load.goes_on(DURING)
        again = lambda: pid_of(bank, "consul") not in (0, pid) and bool(bank.consul.leader())
        await asyncio.to_thread(until, again, "Consul does not lead again")

    assert load.failed == Counter()


async def test_the_leader_of_the_bus_is_killed_and_nothing_is_lost(bank, during):
    async with during("the leader of NATS is killed") as load, bank.streams() as streams:
        await kept_by_all(streams, SERVERS)
        # Back before the others have missed it, it may lead again.
        await asyncio.to_thread(bank.kill_server, await leader_of(streams, STREAM))
        await load.goes_on(DURING)
        await kept_by_all(streams, SERVERS)


async def test_the_servers_of_the_bus_are_replaced_one_after_the_other(bank, during):
    async with during("every server of NATS is replaced"):
        await asyncio.to_thread(bank.replaced)
        async with bank.streams() as streams:
            await kept_by_all(streams, SERVERS)
            kept = (await streams.stream_info(STREAM)).state.messages

    assert kept
