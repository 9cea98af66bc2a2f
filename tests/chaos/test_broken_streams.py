"""What NATS is known to lose is lost to nobody: the outboxes have it. On real servers.

nats-server's issues #7564 (what was acknowledged was not on the disk), #6888 (a stream is gone
after a kill), #7549 (one bit flipped), #7567 (split brain), #7545 (members changed).
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from cbs.platform import relay
from cbs.platform.bus import Bus
from cbs.platform.relay import ensure_stream, stream_name
from cbs.tools.local.ports import is_open
from tests.conftest import Database
from tests.platform import clustered
from tests.platform.clustered import Cluster, Server, leader_of
from tests.platform.houses import House, Running, house_on
from tests.signing import Signer

NIGHT = os.environ.get("CBS_TEST_NIGHT") == "1"
STREAM, SERVICES = stream_name("ledger"), ("ledger", "audit")
HEARD_SECONDS_MAX, MENDED_SECONDS_MAX = 60, 60
# nats-py forgets to close what it gave up while it was connecting.
SILENCE = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
pytestmark = [pytest.mark.timeout(300), SILENCE]

Damage = Callable[[Path], None]


def flipped(place: float) -> Damage:
    """One bit, so far on in the file."""

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[int((len(content) - 1) * place)] ^= 0x10
        file.write_bytes(content)

    return flip


def halved(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zeroed(file: Path) -> None:
    """Its second half: it was made longer, and then nothing was written."""
    size = file.stat().st_size
    halved(file)
    os.truncate(file, size)


DAMAGES: dict[str, Damage] = {"flipped": flipped(0.02)}
if NIGHT:
    DAMAGES |= {"middle flipped": flipped(0.5), "end flipped": flipped(0.98)}
    DAMAGES |= {"halved": halved, "zeroed": zeroed, "gone": Path.unlink}

# Of a stream, and of a listener of an older release, whose place NATS kept on the disk.
FILES = ["meta.inf", "meta.sum", "msgs/1.blk"]
FILES += ["obs/audit/meta.inf", "obs/audit/meta.sum", "obs/audit/o.dat"]


@dataclass(frozen=True)
class Bank:
    """A ledger that tells and an audit that hears, by servers that are killed and damaged."""

    cluster: Cluster
    house: House
    buses: tuple[Bus, Bus]

    @property
    def streams(self) -> JetStreamContext:
        return self.buses[0].jetstream()

    async def tells(self, *numbers: int, heard: bool = True) -> None:
        """Each by itself; returns when NATS has acknowledged all, and they were heard."""
        for number in numbers:
            await self.house.light(number)
        if heard:
            await self.has_heard(numbers[-1] + 1)
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            while await self.house.source.waiting():  # noqa: ASYNC110 (another database)
                await asyncio.sleep(0.05)

    async def has_heard(self, count: int) -> None:
        """All of them, once, in order."""
        heard = await self.house.until_heard(count, seconds=HEARD_SECONDS_MAX)
        assert heard == list(range(count))

    async def goes_by_the_stream(self, first: int) -> int:
        """What is told from `first` on is stored, and brought from there; returns how many are
        kept. Only that shows that it was mended: the outbox is asked every two seconds."""
        number = first
        async with asyncio.timeout(MENDED_SECONDS_MAX):
            while True:
                await self.tells(number)
                number += 1
                try:
                    kept = (await self.streams.stream_info(STREAM)).state
                    heard = await self.buses[1].jetstream().consumer_info(STREAM, "audit")
                except NatsError:
                    continue
                if heard.delivered and heard.delivered.stream_seq == kept.last_seq > 0:
                    await self.has_heard(number)
                    return int(kept.messages)


@asynccontextmanager
async def telling(
    cluster: Cluster, database: Callable[[str], Database], *, heard: bool = True
) -> AsyncIterator[Bank]:
    """The relay runs, and the consumer if what is told is to be heard."""
    await asyncio.to_thread(cluster.all_well)
    replicas, signer = len(cluster.servers), Signer()
    ledger, audit = [await cluster.bus(name, signer) for name in SERVICES]
    async with house_on(ledger, audit, database, replicas=replicas) as house:
        await ensure_stream(ledger, "ledger", replicas=replicas)
        async with Running(house.relay, *([house.consumer] if heard else [])):
            yield Bank(cluster, house, (ledger, audit))
    for bus in (audit, ledger):
        await bus.leave()
        await bus.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Cluster]:
    with clustered.running(tmp_path, count=1) as cluster:
        yield cluster


@pytest.fixture
async def bank(one: Cluster, database: Callable[[str], Database]) -> AsyncIterator[Bank]:
    async with telling(one, database) as bank:
        yield bank


async def again(server: Server) -> None:
    """It listens; whether it is well is another matter."""
    server.start()
    port = int(server.url.rpartition(":")[2])
    async with asyncio.timeout(clustered.READY_SECONDS_MAX):
        while not is_open(port):  # noqa: ASYNC110 (of a process)
            await asyncio.sleep(0.02)


def put_back(older: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(older, place)


def folder_of(server: Server) -> Path:
    return next(server.store.rglob(STREAM))


async def copied(server: Server, to: Path) -> Path:
    """What it has on its disk, when all of it is there."""
    await asyncio.to_thread(server.kill)
    shutil.copytree(server.store, to)
    await again(server)
    return to


async def test_what_was_acknowledged_and_not_yet_on_the_disk_is_lost_to_nobody(
    one, database, tmp_path
):
    """#7564: NATS syncs every two minutes; the power goes before, and before anybody has heard."""
    (server,) = one.servers
    async with telling(one, database, heard=False) as bank:
        await bank.tells(*range(10), heard=False)
        older = await copied(server, tmp_path / "older")
        await bank.tells(*range(10, 40), heard=False)
        kept = (await bank.streams.stream_info(STREAM)).state.messages
        await asyncio.to_thread(server.kill)
        put_back(older, server.store)
        await again(server)
        async with Running(bank.house.consumer):
            left = await bank.goes_by_the_stream(40)

    assert kept == 40
    assert left < 40, "nothing was lost: this test shows nothing"


@pytest.mark.parametrize("lost", ["all that it keeps", "the stream"])
async def test_a_stream_that_is_gone_is_made_anew(bank, lost, capsys):
    """#6888."""
    (server,) = bank.cluster.servers
    await bank.tells(*range(10))
    await asyncio.to_thread(server.kill)
    shutil.rmtree(server.store if lost == "all that it keeps" else folder_of(server))
    await again(server)

    assert await bank.goes_by_the_stream(10) < 10
    assert "stream-made" in capsys.readouterr().out


async def test_a_stream_comes_back_also_when_nobody_has_anything_to_tell(
    one, database, monkeypatch
):
    """Or its server is unwell for as long as nothing happens."""
    monkeypatch.setattr(relay, "UPDATE_AGAIN_SECONDS", 0.5)
    (server,) = one.servers
    async with telling(one, database) as bank:
        await bank.tells(*range(10))
        await asyncio.to_thread(server.kill)
        flipped(0.5)(folder_of(server) / "meta.inf")
        await again(server)

        await asyncio.to_thread(one.all_well)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_costs_nobody_a_fact_and_the_stream_comes_back(
    one, database, file, damage, capsys
):
    """#7549, in each file that NATS keeps."""
    (server,) = one.servers
    async with one.administrator() as streams:
        signer = Signer()
        ledger = await one.bus("ledger", signer)
        await ensure_stream(ledger, "ledger")
        await ledger.close()
        if file.startswith("obs/"):
            await streams.add_consumer(STREAM, OF_AN_OLDER_RELEASE)
    async with telling(one, database) as bank:
        await bank.tells(*range(10))
        await asyncio.to_thread(server.kill)
        DAMAGES[damage](folder_of(server) / file)
        await again(server)
        await bank.goes_by_the_stream(10)

        assert await asyncio.to_thread(lambda: server.well)
        if (damage, file) == ("flipped", "obs/audit/meta.inf"):
            assert "stream-renewed" in capsys.readouterr().out


OF_AN_OLDER_RELEASE = ConsumerConfig(
    durable_name="audit",
    ack_policy=AckPolicy.NONE,
    deliver_policy=DeliverPolicy.ALL,
    filter_subject="cbs.ledger.events.>",
)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with clustered.running(tmp_path) as cluster:
        yield cluster


async def test_servers_that_disagree_on_what_there_is_lose_nothing(three, database, tmp_path):
    """#7567: one forgets what it acknowledged, and makes a majority with one that never had it."""
    async with telling(three, database) as bank, three.administrator() as streams:
        await bank.tells(*range(10))
        leader = three.named(await leader_of(streams, STREAM))
        behind, ahead = [each for each in three.servers if each is not leader]
        older = tmp_path / "older"
        shutil.copytree(leader.store, older)
        await asyncio.to_thread(behind.kill)
        await bank.tells(*range(10, 40))
        await asyncio.to_thread(leader.kill)
        put_back(older, leader.store)
        ahead.freeze()
        try:
            for each in (behind, leader):
                await again(each)
            left = await bank.goes_by_the_stream(40)
        finally:
            ahead.thaw()
        first = len(await bank.house.heard())
        await bank.goes_by_the_stream(first)

        assert left < 40, "nothing was lost: this test shows nothing"


async def test_two_servers_of_three_replaced_by_empty_ones_lose_nothing(three, database):
    """#7545: the two that are new know of no stream, and are the majority."""
    async with telling(three, database) as bank, three.administrator() as streams:
        await bank.tells(*range(10))
        leader = await leader_of(streams, STREAM)
        behind = next(each for each in three.servers if each.name != leader)
        replaced = [each for each in three.servers if each is not behind]
        await asyncio.to_thread(behind.kill)
        await bank.tells(*range(10, 40))
        for each in replaced:
            await asyncio.to_thread(each.kill)
            shutil.rmtree(each.store)
        for each in three.servers:
            await again(each)
        left = await bank.goes_by_the_stream(40)

        assert left < 40, "nothing was lost: this test shows nothing"
