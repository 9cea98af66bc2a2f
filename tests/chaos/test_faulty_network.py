"""A link passes everything on as it came, until it is told to do what networks do."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from cbs.tools.lab.chaos import faulty_network
from cbs.tools.local.postgres import ADMIN

NAME = "ledger postgres"


@asynccontextmanager
async def echoed():
    """FaultyNetwork to a server that says what it hears, and a connection through one of them."""

    async def echo(reader, writer):
        with suppress(ConnectionResetError):
            while said := await reader.read(1 << 16):
                writer.write(said)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with faulty_network.opened(lambda _: port) as opened:
        reader, writer = await connected(opened)
        yield opened, reader, writer
        writer.close()
    server.close()


async def connected(opened):
    return await asyncio.open_connection("127.0.0.1", opened.ports[NAME])


async def hears(reader, count):
    async with asyncio.timeout(10):
        return await reader.readexactly(count)


def is_reset(port):
    """While it connects, or when it listens: the reset may come at either time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@asynccontextmanager
async def lasting(opened, change, bad, good):
    opened.set(change, bad)
    await asyncio.sleep(0.1)  # it is set in another thread
    yield
    opened.set(change, good)
    await asyncio.sleep(0.1)


async def test_all_that_is_said_arrives_in_order():
    said = bytes(range(256)) * 20_000
    async with echoed() as (opened, reader, writer):
        async with lasting(opened, opened.by_name[NAME].slow, 0.5, 0):
            writer.write(said[:100_000])
            await asyncio.sleep(0.1)
        writer.write(said[100_000:])

        assert await hears(reader, len(said)) == said


async def test_a_slow_way_takes_so_much_longer_each_way():
    async with echoed() as (opened, reader, writer):
        async with lasting(opened, opened.by_name[NAME].slow, 0.2, 0):
            began = time.monotonic()
            writer.write(b"hello")
            await hears(reader, 5)

        assert time.monotonic() - began >= 0.4


async def test_a_stalled_way_loses_nothing():
    async with echoed() as (opened, reader, writer):
        async with lasting(opened, opened.by_name[NAME].stall, True, False):
            writer.write(b"hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)

        assert await hears(reader, 5) == b"hello"


async def test_a_severed_way_resets_what_there_is_and_what_comes_until_it_is_mended():
    async with echoed() as (opened, reader, _):
        async with lasting(opened, opened.by_name[NAME].sever, True, False):
            with pytest.raises(ConnectionResetError):
                await hears(reader, 1)
            assert await asyncio.to_thread(is_reset, opened.ports[NAME])
        reader, writer = await connected(opened)
        writer.write(b"hello")

        assert await hears(reader, 5) == b"hello"
        writer.close()


async def test_a_commit_whose_answer_is_lost_is_done(postgres_server):
    port = int(postgres_server.rpartition(":")[2].partition("/")[0])
    with faulty_network.opened(lambda _: port) as opened:
        link = opened.by_name[NAME]
        url = f"postgresql://{ADMIN}@127.0.0.1:{opened.ports[NAME]}/postgres"
        one, other = [await asyncpg.connect(url) for _ in range(2)]
        table = f"ways_{link.port}"
        await other.execute(f"CREATE TABLE {table} (number integer)")
        opened.set(link.take_commit, True)
        await asyncio.sleep(0.1)

        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            async with one.transaction():
                await one.execute(f"INSERT INTO {table} VALUES (7)")

        assert link.commits_taken == 1
        assert await other.fetchval(f"SELECT number FROM {table}") == 7  # and only one is lost
        async with other.transaction():
            await other.execute(f"DROP TABLE {table}")
        await other.close()
