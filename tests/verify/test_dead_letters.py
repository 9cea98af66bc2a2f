"""`cbs dead-letters` at a real service behind a real port."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import uvicorn

from cbs.tools.local import state
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import started
from cbs.tools.local.state import BankState
from tests.serving import Served
from tests.verify.bank import broken, verified, working
from tests.verify.planted import planted

START_SECONDS_MAX = 30
LISTED = "(SELECT min(position) FROM transfer)"


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def reachable(served: Served, root: Path) -> AsyncIterator[Path]:
    """The data folder of a bank whose edge is this one service."""
    config = uvicorn.Config(
        served.service.admission, port=0, lifespan="off", log_config=None, access_log=False
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        folder, pid = Folder(root), os.getpid()
        token = served.signer.token("olga", "operations.read", "operations.replay")
        folder.token("operator").write_text(token)
        now = BankState(
            pid=pid,
            identity=started(pid) or "",
            phase="ready",
            since=time.time(),
            edge_url=f"http://127.0.0.1:{port}",
        )
        folder["run"]
        state.write(folder.state, now)
        yield root
    finally:
        server.should_exit = True
        await serving


@dataclass(frozen=True)
class Told:
    exit_code: int
    stdout: str
    stderr: str


async def cbs(root: Path, *words: str) -> Told:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cbs.tools.cli", "dead-letters", *words, "--data", str(root)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Told(process.returncode, stdout.decode(), stderr.decode())


@pytest.fixture
async def set_aside(bank):
    """A payment that `payments` could not digest; returns its position at the ledger."""
    ledger = await asyncpg.connect(bank["ledger"].admin_url)
    payments = await asyncpg.connect(bank["payments"].admin_url)
    position = await payments.fetchval(f"SELECT {LISTED}")
    body = await ledger.fetchval("SELECT body FROM outbox WHERE position = $1", position)
    await payments.execute("SET session_replication_role = replica")
    await payments.execute("DELETE FROM transfer WHERE position = $1", position)
    await payments.execute(
        "INSERT INTO dead_letter VALUES ('ledger', $1, $2, 'KeyError(1)', now())", position, body
    )
    await ledger.close()
    await payments.close()
    return position


async def test_a_dead_letter_is_listed_shown_and_replayed_and_all_is_well_again(
    bank, set_aside, nats_url, tmp_path
):
    assert set(broken(await verified(bank))) == {"payments/dead-letters"}
    async with (
        working(bank, nats_url=nats_url, folder=tmp_path) as served,
        reachable(served.served["payments"], tmp_path / "data") as root,
    ):
        listed = await cbs(root, "list", "payments", "--json")
        shown = await cbs(root, "show", "payments", "ledger", str(set_aside))
        replayed = await cbs(root, "replay", "payments")
        again = await cbs(root, "list", "payments")
        everything = await cbs(root, "list", "payments", "--all", "--json")
        nothing = await cbs(root, "replay", "payments", "--json")

    (letter,) = json.loads(listed.stdout)
    assert listed.exit_code == 1
    assert (letter["service"], letter["source"], letter["error"]) == (
        "payments",
        "ledger",
        "KeyError(1)",
    )
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["fact"]["type"] == "cbs.ledger.transaction-posted"
    assert (replayed.exit_code, replayed.stdout) == (
        0,
        f"payments: ledger {set_aside}: replayed\n",
    )
    assert (again.exit_code, again.stdout) == (0, "no dead letters\n")
    assert json.loads(everything.stdout)[0]["replayed_at"]
    assert (nothing.exit_code, json.loads(nothing.stdout)) == (0, [])
    assert broken(await verified(bank)) == {}


async def test_what_still_cannot_be_digested_is_said_and_stays(bank, nats_url, tmp_path):
    # The audit log has this fact, with other bytes.
    await planted(
        bank,
        "audit",
        "INSERT INTO dead_letter SELECT source, position, convert_to(replace("
        "convert_from(body, 'UTF8'), 'mallory', 'malory'), 'UTF8'), 'contradiction', now()"
        " FROM audit_entry WHERE source = 'ledger' AND position = 1",
    )
    async with (
        working(bank, nats_url=nats_url, folder=tmp_path) as served,
        reachable(served.served["audit"], tmp_path / "data") as root,
    ):
        replayed = await cbs(root, "replay", "audit", "ledger", "1", "--json")
        listed = await cbs(root, "list", "audit")
        missing = await cbs(root, "replay", "audit", "ledger", "99999")
        unknown = await cbs(root, "show", "audit", "ledger", "99999")

    assert replayed.exit_code == 1
    assert json.loads(replayed.stdout)[0]["refused"].startswith("still-indigestible")
    assert listed.exit_code == 1
    assert missing.exit_code == 1
    assert "no-such-dead-letter" in missing.stdout
    assert unknown.exit_code == 1


async def test_without_a_bank_it_cannot_be_said(tmp_path):
    told = await cbs(tmp_path, "list")

    assert told.exit_code == 3
    assert "no bank is up" in told.stderr


async def test_a_service_that_there_is_not_is_wrong_usage(tmp_path):
    assert (await cbs(tmp_path, "list", "loans")).exit_code == 2
