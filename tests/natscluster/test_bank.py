"""The whole bank on Nomad and Consul with three NATS servers: any one may go, whoever leads."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbs.platform.relay import stream_name
from tests.cluster.clone import Operator, operating
from tests.natscluster.bank import Bank, Load, kept_by_all
from tests.platform.clustered import leader_of

SERVERS, STREAM = 3, stream_name("ledger")
VALUES = Path(__file__).parents[2] / "nomad" / "env" / "three-natses.hcl"
pytestmark = pytest.mark.timeout(800)


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    with operating() as operator:
        operator.cbs("cluster", "dev", "--detach", "--values", str(VALUES))
        yield operator


@pytest.fixture
def bank(operator: Operator) -> Bank:
    return Bank(folder=operator.folder, nomad=operator.api("nomad"), consul=operator.api("consul"))


async def test_the_leader_is_killed_under_load_and_nothing_is_lost(bank, operator, capsys):
    async with Load.on(bank.folder, "leader") as load, bank.streams() as streams:
        await kept_by_all(streams, SERVERS)
        await load.goes_on(100)
        killed = await leader_of(streams, STREAM)
        await asyncio.to_thread(bank.kill, killed)
        leader = await leader_of(streams, STREAM, other_than=killed)
        await load.goes_on(100)
        await kept_by_all(streams, SERVERS)
        said, violations = await load.settled()
    with capsys.disabled():
        print(f"\n{killed} killed, then {leader} led: {said}")  # noqa: T201 (measured)

    assert not violations
    verified(operator)


async def test_the_servers_are_replaced_one_after_the_other_under_load(bank, operator, capsys):
    async with Load.on(bank.folder, "replaced") as load:
        await load.goes_on(50)
        await asyncio.to_thread(bank.replaced)
        await load.goes_on(50)
        async with bank.streams() as streams:
            await kept_by_all(streams, SERVERS)
            kept = (await streams.stream_info(STREAM)).state.messages
        said, violations = await load.settled()
    with capsys.disabled():
        print(f"\nall replaced: {said}; {kept} facts still kept")  # noqa: T201 (measured)

    assert not violations
    assert kept
    verified(operator)


def verified(operator: Operator) -> None:
    assert json.loads(operator.cbs("verify", "--json", "--data", ".cbs-cluster"))
