"""PostgreSQL writes a page in two halves or not at all, and a disk flips bits: on a real server."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cbs.kernel.answer import Answer
from cbs.ledger.main import in_postgres
from cbs.ledger.service import DECLARATION
from cbs.platform.context import Context, within
from cbs.platform.migrations import migrate
from cbs.tools.local import databases, postgres
from cbs.tools.local.ports import choose
from cbs.tools.local.process import CannotStart, as_plain_user, running
from cbs.tools.local.waiting import wait_until
from tests.ledger.orders import order
from tests.stores import runtime_on

PAGE, STOPPED_SECONDS_MAX = 8192, 30
BOOK = "SELECT number, balance_minor, postings FROM account ORDER BY number"
COUNTS = """
    SELECT (SELECT count(*) FROM posting), (SELECT count(*) FROM outbox),
        (SELECT position FROM outbox_head)"""
TABLE = "SELECT pg_relation_filepath('posting')"
pytestmark = pytest.mark.timeout(120)


@dataclass
class Server:
    """A bank's own, with the ledger's database in it; it is killed as a power cut kills it."""

    data: Path
    settings: dict[str, str]
    port: int

    @property
    def admin_url(self) -> str:
        return f"postgresql://{postgres.ADMIN}@127.0.0.1:{self.port}/postgres"

    def url(self, user: str) -> str:
        return postgres.with_database(self.admin_url, "cbs_ledger", user)

    @contextmanager
    def up(self) -> Iterator[None]:
        postgres.clear_stale_lock(self.data)
        with running(
            postgres.command(self.data, self.port, self.settings),
            log=self.data.with_suffix(".log"),
            is_ready=lambda: postgres.is_ready(self.data),
            stop=signal.SIGINT,
        ):
            yield

    def kill(self) -> None:
        """Nothing is written from here on."""
        lock = self.data / "postmaster.pid"
        os.kill(int(lock.read_text().splitlines()[0]), signal.SIGKILL)
        assert wait_until(lambda: not _at_work(self.data), seconds=STOPPED_SECONDS_MAX)

    def pages(self) -> dict[Path, bytes]:
        """What is on the disk of tables and indexes."""
        return {
            file.relative_to(self.data): file.read_bytes()
            for file in (self.data / "base").rglob("*")
            if file.is_file() and file.name.partition(".")[0].partition("_")[0].isdigit()
        }

    def log(self) -> str:
        return self.data.with_suffix(".log").read_text()


def _at_work(place: Path) -> bool:
    """A server's processes work in its folder."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == place:
                return True
    return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    claim = choose(15900)
    server = Server(tmp_path / "postgres", dict(postgres.BANK), claim.port)
    postgres.create(server.data)
    yield server
    claim.release()


async def _founded(server: Server) -> None:
    await databases.make_roles(server.admin_url, dict.fromkeys(databases.roles_of(("ledger",))))
    await databases.make_database(server.admin_url, "ledger", name="cbs_ledger")
    await migrate("ledger", server.url(databases.owner_of("ledger")))


async def _asked(server: Server, query: str) -> list[Any]:
    connection = await asyncpg.connect(server.url(postgres.ADMIN))
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def _post(server: Server, count: int) -> None:
    """Each in a transaction of its own: acknowledged, so durable."""
    async with runtime_on(DECLARATION, server.url(databases.runtime_of("ledger"))) as runtime:
        book = in_postgres(runtime)
        with within(Context(principal=runtime.principal)):
            for n in range(count):
                (answer,) = await book.post([order("INR-CASH", "INR-FEES", 100 + n)])
                assert isinstance(answer, Answer) and answer.status == 201, answer


def _torn(old: bytes, new: bytes, *, first: bool) -> bytes:
    """Each page that was being written: one half is as it was."""
    old = old.ljust(len(new), b"\0")
    halves = []
    for place in range(0, len(new), PAGE):
        middle, end = place + PAGE // 2, place + PAGE
        here, there = (new, old) if first else (old, new)
        halves += [here[place:middle], there[middle:end]]
    return b"".join(halves)


async def _torn_after_a_crash(server: Server, *, first: bool) -> tuple[list[Any], list[Any], int]:
    """The book and counts as they were acknowledged, and how many files have torn pages now."""
    with server.up():
        await _founded(server)
        await _post(server, 60)
        await _asked(server, "CHECKPOINT")
        old = server.pages()
        await _post(server, 60)
        was = await _asked(server, BOOK), await _asked(server, COUNTS)
        server.kill()
    whole = replace(server, data=server.data.with_name("whole"))
    shutil.copytree(server.data, whole.data)
    with whole.up():
        pass  # to ask it anything would change more pages
    torn = 0
    for file, new in whole.pages().items():
        if old.get(file, b"") != new:
            (server.data / file).write_bytes(_torn(old.get(file, b""), new, first=first))
            torn += 1
    return *was, torn


@pytest.mark.parametrize("first", [True, False], ids=["first half new", "second half new"])
async def test_pages_that_were_half_written_when_the_power_went_are_made_whole(server, first):
    book, counts, torn = await _torn_after_a_crash(server, first=first)
    assert torn > 5
    with server.up():
        assert await _asked(server, BOOK) == book
        assert await _asked(server, COUNTS) == counts
        await _post(server, 1)
    assert _checksums(server).returncode == 0


async def test_without_full_page_writes_the_same_tear_is_the_end(server):
    """So the test above tears pages; up and verify refuse a server without."""
    server.settings["full_page_writes"] = "off"
    await _torn_after_a_crash(server, first=True)
    with pytest.raises(CannotStart, match="invalid page"), server.up():
        pass


def _checksums(server: Server) -> "subprocess.CompletedProcess[str]":
    argv = [postgres.program("pg_checksums"), "--check", "-D", str(server.data)]
    return subprocess.run(as_plain_user(argv), capture_output=True, text=True, check=False)


async def test_a_bit_that_flips_in_a_page_is_no_other_amount(server):
    """A bank's cluster has checksums: what is damaged is not read as if it were right."""
    with server.up():
        await _founded(server)
        await _post(server, 60)
        ((table,),) = await _asked(server, TABLE)
    page = bytearray((server.data / table).read_bytes())
    page[PAGE - 200] ^= 0x01
    (server.data / table).write_bytes(page)
    with server.up():
        with pytest.raises(asyncpg.DataCorruptedError, match="invalid page in block 0"):
            await _asked(server, "SELECT sum(amount_minor) FROM posting")
        assert len(await _asked(server, BOOK)) > 1
    checked = _checksums(server)

    assert "page verification failed" in server.log()
    assert checked.returncode == 1 and Path(table).name in checked.stderr
