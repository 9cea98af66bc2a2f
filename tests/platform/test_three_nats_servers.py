"""Of three NATS servers any one may go: calls go on, no fact is lost or heard twice."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from cbs.kernel.refusal import Unavailable
from cbs.platform import relay as limits
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.context import Context, within
from cbs.platform.relay import ensure_stream, stream_name
from tests.conftest import Database as Made
from tests.platform import clustered
from tests.platform.clustered import Cluster, leader_of, without_stream
from tests.platform.houses import House, Running, house_on
from tests.signing import Signer

STREAM = stream_name("ledger")
# An election among those left takes NATS 4 to 9 s, a try of a call 2 s, and CI is a busy place.
HEARD_SECONDS_MAX, PAUSE_SECONDS_MAX, FROZEN_SECONDS_MAX = 90, 10, 25
# nats-py forgets to close what it gave up while it was connecting.
SILENCE = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
pytestmark = pytest.mark.timeout(300)


class Ask(msgspec.Struct):
    cat: int


@dataclass
class Line:
    """Payments asks ledger, again and again; when each was answered, and how many were not."""

    caller: Bus
    signer: Signer
    answered: list[float] = field(default_factory=list)
    unanswered: int = 0

    async def run(self) -> None:
        token = self.signer.token("tara", "cats.see")
        context = Context(principal=self.caller.tokens.principal(token), token=token)
        loop = asyncio.get_running_loop()
        while True:
            with within(context):
                try:
                    told = await self.caller.call("ledger.cat", Ask(1), Ask)
                except Unavailable:
                    self.unanswered += 1
                else:
                    assert told.cat == 2
                    self.answered.append(loop.time())
            await asyncio.sleep(0.02)

    @property
    def longest_pause(self) -> float:
        pairs = zip(self.answered, self.answered[1:], strict=False)
        return max(after - before for before, after in pairs)

    async def goes_on(self, seconds: float, calls: int = 20) -> None:
        """Returns when so many more were answered."""
        wanted = len(self.answered) + calls
        async with asyncio.timeout(seconds):
            while len(self.answered) < wanted:  # noqa: ASYNC110 (it is counted elsewhere)
                await asyncio.sleep(0.05)


@dataclass
class World:
    cluster: Cluster
    house: House
    line: Line
    ledger: Bus

    @asynccontextmanager
    async def asks_at(self, server: str) -> AsyncIterator[Line]:
        """Payments, who knows no more than this server to begin with."""
        signer, url = self.line.signer, self.cluster.named(server).url
        caller = await self.cluster.bus("payments", signer, url=url)
        try:
            yield Line(caller, signer)
        finally:
            await caller.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered.running(tmp_path_factory.mktemp("natses")) as cluster:
        yield cluster


async def answer(ask: Ask, _: str) -> Ask:
    return Ask(ask.cat + 1)


async def counted_in(bus: Bus) -> None:
    """Returns when all servers are given a stream to keep: who was away is counted out for long."""
    async with asyncio.timeout(clustered.READY_SECONDS_MAX):
        while True:
            try:
                await ensure_stream(bus, "ledger", replicas=clustered.SERVERS)
            except NatsError:
                await asyncio.sleep(clustered.POLL_SECONDS)
            else:
                return


@pytest.fixture
async def world(servers: Cluster, database: Callable[[str], Made]) -> AsyncIterator[World]:
    signer = Signer()
    await asyncio.to_thread(servers.all_well)
    ledger, payments, audit = [
        await servers.bus(name, signer) for name in ("ledger", "payments", "audit")
    ]
    await counted_in(ledger)
    async with servers.administrator() as streams:
        await without_stream(streams, STREAM)
    cats = Endpoint(verb="cat", takes=Ask, gives=Ask, handle=answer, permission="cats.see")
    async with house_on(ledger, audit, database, cats, replicas=clustered.SERVERS) as house:
        yield World(servers, house, Line(payments, signer), ledger)
        for bus in (payments, audit, ledger):
            await bus.leave()
            await bus.close()
    await asyncio.to_thread(servers.all_well)
    async with servers.administrator() as streams:
        await without_stream(streams, STREAM)


async def lit(house: House, stop: asyncio.Event) -> int:
    """Facts without end, until told; how many."""
    count = 0
    while not stop.is_set():
        await house.light(count)
        count += 1
        await asyncio.sleep(0.02)
    return count


async def test_the_leader_killed_under_load_loses_nothing_and_holds_nobody_up(world, capsys):
    stop = asyncio.Event()
    await ensure_stream(world.ledger, "ledger", replicas=clustered.SERVERS)
    async with world.cluster.administrator() as streams:
        killed = await leader_of(streams, STREAM)
    async with (
        world.cluster.administrator() as streams,
        world.asks_at(killed) as near,
        Running(world.house.relay, world.house.consumer, world.line, near),
    ):
        lighting = asyncio.create_task(lit(world.house, stop))
        await world.house.until_heard(20, seconds=HEARD_SECONDS_MAX)
        await near.goes_on(HEARD_SECONDS_MAX)
        assert killed == await leader_of(streams, STREAM)
        await asyncio.to_thread(world.cluster.named(killed).kill)
        await near.goes_on(HEARD_SECONDS_MAX, calls=100)
        # With that server still away: the others keep the stream.
        await leader_of(streams, STREAM, other_than=killed)
        stop.set()
        count = await lighting
        heard = await world.house.until_heard(count, seconds=HEARD_SECONDS_MAX)
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            while await world.house.source.waiting():  # noqa: ASYNC110 (another database)
                await asyncio.sleep(0.1)
        found = await streams.stream_info(STREAM)
        ids = [await id_of(streams, number) for number in range(1, found.state.last_seq + 1)]

    with capsys.disabled():
        print(  # noqa: T201 (measured)
            f"\n{killed} killed: {len(near.answered)} calls of its client answered,"
            f" {near.unanswered} not, longest pause {near.longest_pause:.2f} s (others'"
            f" {world.line.longest_pause:.2f} s); {count} facts, {len(ids)} messages kept"
        )
    assert heard == list(range(count))
    assert set(ids) == {f"ledger-{position}" for position in range(1, count + 1)}
    assert max(near.longest_pause, world.line.longest_pause) < PAUSE_SECONDS_MAX


async def id_of(streams: Any, number: int) -> str:
    message = await streams.get_msg(STREAM, seq=number)
    return str(message.headers["Nats-Msg-Id"])


async def test_with_one_replica_the_stream_is_away_with_its_server_and_comes_back_with_it(world):
    """What three are for; the facts are in the outbox, and nobody misses one."""
    world.house.relay.replicas = 1
    async with (
        world.cluster.administrator() as streams,
        Running(world.house.relay, world.house.consumer),
    ):
        await world.house.light(0, 1)
        await world.house.until_heard(2, seconds=HEARD_SECONDS_MAX)
        server = world.cluster.named(await leader_of(streams, STREAM))
        await asyncio.to_thread(server.kill)
        await world.house.light(2)
        # Longer than an election takes.
        await asyncio.sleep(12)
        assert await world.house.source.waiting() == 1
        server.start()
        assert await leader_of(streams, STREAM) == server.name
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            while await world.house.source.waiting():  # noqa: ASYNC110 (another database)
                await asyncio.sleep(0.1)
        heard = await world.house.until_heard(3, seconds=HEARD_SECONDS_MAX)

    assert heard == [0, 1, 2]


@SILENCE
async def test_a_server_that_falls_silent_is_left(world):
    """Nobody closes the connection to a node that has lost its power: silence must say it."""
    place = world.line.caller._client.connected_url
    (silent,) = (each for each in world.cluster.servers if each.url.endswith(f":{place.port}"))
    async with Running(world.line):
        await world.line.goes_on(HEARD_SECONDS_MAX)
        silent.freeze()
        try:
            await world.line.goes_on(FROZEN_SECONDS_MAX)
        finally:
            silent.thaw()


async def test_a_server_that_comes_back_with_an_empty_disk_is_sent_what_it_lacks(world):
    """As a new node under the name of one that is lost."""
    async with world.cluster.administrator() as streams:
        async with Running(world.house.relay):
            await world.house.light(*range(300))
            async with asyncio.timeout(HEARD_SECONDS_MAX):
                while await world.house.source.waiting():  # noqa: ASYNC110 (another database)
                    await asyncio.sleep(0.1)
        leader = await leader_of(streams, STREAM)
    lost = next(each for each in world.cluster.servers if each.name != leader)
    await asyncio.to_thread(lost.kill)
    shutil.rmtree(lost.store)
    await asyncio.to_thread(world.cluster.all_well)

    assert await asyncio.to_thread(lost.messages, STREAM) == 300


@pytest.mark.parametrize("away", [False, True])
async def test_a_stream_of_an_older_release_gets_the_replicas_of_todays(world, monkeypatch, away):
    """And serves as it is, while a server is away that is to have one."""
    monkeypatch.setattr(limits, "UPDATE_AGAIN_SECONDS", 1.0)
    async with world.cluster.administrator() as streams:
        await streams.add_stream(
            StreamConfig(name=STREAM, subjects=["cbs.ledger.events.>"], duplicate_window=10)
        )
        leader = await leader_of(streams, STREAM)
        gone = next(each for each in world.cluster.servers if each.name != leader)
        if away:
            await asyncio.to_thread(gone.kill)
        async with Running(world.house.relay, world.house.consumer):
            await world.house.light(0)
            assert await world.house.until_heard(1, seconds=HEARD_SECONDS_MAX) == [0]
            if away:
                gone.start()
            async with asyncio.timeout(HEARD_SECONDS_MAX):
                while not await keeps_three(streams):  # noqa: ASYNC110 (of the servers)
                    await asyncio.sleep(0.2)
            await world.house.light(1)
            assert await world.house.until_heard(2, seconds=HEARD_SECONDS_MAX) == [0, 1]


async def keeps_three(streams: Any) -> bool:
    """The stream, and with it who hears it."""
    try:
        found = [await streams.stream_info(STREAM), await streams.consumer_info(STREAM, "audit")]
    except NatsError:  # whoever is to lead it is being chosen
        return False
    others = [(each.cluster and each.cluster.replicas) or [] for each in found]
    return all(len(some) == 2 and all(one.current for one in some) for some in others)


@SILENCE
async def test_who_loses_the_bus_while_it_begins_to_serve_serves_on_the_next(world):
    (only, *_), signer = world.cluster.servers, world.line.signer
    bus = await world.cluster.bus("ledger", signer, url=only.url)
    await world.ledger.leave()
    cats = Endpoint(verb="cat", takes=Ask, gives=Ask, handle=answer, permission="cats.see")
    only.freeze()
    try:
        await bus.serve(cats)
        async with Running(world.line):
            await world.line.goes_on(HEARD_SECONDS_MAX)
    finally:
        only.thaw()
        await bus.leave()
        await bus.close()


async def test_what_the_bus_cannot_do_at_all_is_said_and_tried_again(world):
    """Five replicas of three servers: an environment's mistake."""
    async with world.cluster.administrator() as streams:
        await ensure_stream(world.ledger, "ledger", replicas=3)
        assert not await ensure_stream(world.ledger, "ledger", replicas=5)
        assert (await streams.stream_info(STREAM)).config.num_replicas == 3
