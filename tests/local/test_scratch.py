"""What was only made for a while goes, also while somebody is still at it."""

import os
import signal
import threading
import time
from contextlib import suppress

import asyncpg
import pytest

from cbs.tools.lab.bench import tpcb
from cbs.tools.local import databases, scratch_bank
from cbs.tools.local.databases import connected
from cbs.tools.local.postgres import with_database

# PostgreSQL itself waits five seconds for the sessions that it ends.
BUSY_SECONDS = 6.0


@pytest.fixture
def passfile(tmp_path):
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:trusted\n")
    file.chmod(0o600)
    return file


async def test_a_scratch_database_goes_though_a_session_takes_long_to_end(
    postgres_server, passfile, monkeypatch
):
    monkeypatch.setattr(tpcb, "SCALE", 1)
    place = postgres_server.replace("postgres@", "")

    with tpcb.scratch(place, passfile) as url:
        holder = await asyncpg.connect(url, passfile=str(passfile))
        busy = await holder.fetchval("SELECT pg_backend_pid()")
        os.kill(busy, signal.SIGSTOP)
        threading.Timer(BUSY_SECONDS, os.kill, (busy, signal.SIGCONT)).start()
    there = "SELECT count(*) FROM pg_database WHERE datname = $1"
    assert await databases.number(postgres_server, there, tpcb.DATABASE) == 0
    holder.terminate()


async def test_a_database_that_does_not_go_is_named(postgres_server, monkeypatch):
    monkeypatch.setattr(databases, "DROP_SECONDS_MAX", 0)
    name = "test_that_does_not_go"
    async with connected(postgres_server) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    holder = await asyncpg.connect(with_database(postgres_server, name))
    busy = await holder.fetchval("SELECT pg_backend_pid()")
    os.kill(busy, signal.SIGSTOP)
    try:
        with pytest.raises(OSError, match=name):
            await databases.drop_database(postgres_server, name)
    finally:
        os.kill(busy, signal.SIGCONT)
    holder.terminate()
    monkeypatch.undo()
    await databases.drop_database(postgres_server, name)


def test_a_scratch_folder_goes_though_somebody_still_writes_into_it(tmp_path):
    place = tmp_path / "scratch"
    (place / "data").mkdir(parents=True)
    until = time.monotonic() + 1

    def write(who):
        with suppress(FileNotFoundError):
            while time.monotonic() < until:
                (place / "data" / f"{who}-{time.monotonic_ns()}").touch()

    writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for writer in writers:
        writer.start()
    scratch_bank.erase(place)
    for writer in writers:
        writer.join()
    assert not place.exists()
