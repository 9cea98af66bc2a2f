"""`cbs up` and its kin as a user runs them: real PostgreSQL, NATS and Envoy, stand-in services."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from cbs.tools.local import databases, nats_server, postgres, secrets, state
from cbs.tools.local.ports import Claim, choose
from cbs.tools.local.process import running
from tests.local.machine import PARTS, eventually, logs_of, machine_at, running_in


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with machine_at(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture
def up(machine):
    machine.up()
    return machine


def test_up_brings_up_every_part_and_says_where_it_is(up):
    assert "already up (ready)" in up.run("up").stdout
    said = up.status()
    assert said["phase"] == "ready"
    assert {part["name"] for part in said["parts"]} == PARTS
    assert {part["health"] for part in said["parts"]} == {"ready"}
    ledger = up.part("ledger")
    assert (ledger["version"], ledger["queues"], ledger["restarts"]) == ("9.9", {"outbox": 7}, 0)
    assert said["edge_url"] in up.run("up").stdout
    assert "ledger" in up.run("status").stdout


async def test_each_service_enters_its_own_database_with_its_own_password(up):
    folder = up.bank()
    place = up.status()["postgres_url"].removesuffix("/postgres").replace("//", "//{}@")
    passfile = str(secrets.pgpass(folder, "cbs_ledger"))
    url = f"{place.format('cbs_ledger')}/cbs_ledger"
    connection = await asyncpg.connect(url, passfile=passfile)
    await connection.close()
    for wrong in (
        {"dsn": url, "passfile": str(secrets.pgpass(folder, "cbs_payments"))},
        {"dsn": url, "password": "guess"},
        {"dsn": f"{place.format('cbs_payments')}/cbs_payments", "passfile": passfile},
    ):
        with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InternalClientError)):
            await asyncpg.connect(**wrong)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"{place.format('cbs_ledger')}/cbs_audit", passfile=passfile)


def test_no_secret_is_on_a_command_line_or_in_a_log(up):
    folder = up.bank()
    hidden = [path.read_text().strip() for path in folder["secrets"].iterdir()]
    hidden += [path.read_text().strip() for path in folder["tokens"].iterdir()]
    hidden += [text.rpartition(":")[2] for text in hidden]
    seen = logs_of(folder) + folder.state.read_text()
    for pid in running_in(folder):
        seen += Path(f"/proc/{pid}/cmdline").read_text()
    assert len(hidden) > 40
    assert [text for text in hidden if text in seen] == []


@pytest.mark.parametrize("name", ["ledger", "nats", "edge", "postgres"])
def test_a_part_that_is_killed_comes_back(up, name):
    before = up.part(name)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: up.part(name)["restarts"] == before["restarts"] + 1)
    eventually(lambda: up.part(name)["health"] == "ready")
    assert up.part(name)["pid"] != before["pid"]


def test_a_second_bank_runs_beside_the_first_on_ports_of_its_own(up):
    up.up(bank="other")
    ports = [{part["port"] for part in up.status(bank)["parts"]} for bank in ("bank", "other")]
    assert not ports[0] & ports[1]
    assert up.run("down", bank="other").returncode == 0
    assert running_in(up.bank("other")) == set()
    assert up.status()["phase"] == "ready"


def test_down_leaves_nothing_running_and_up_finds_the_same_bank_again(up):
    edge_url, folder = up.status()["edge_url"], up.bank()
    mark = (folder.root / "bank.json").read_text()
    assert up.run("down").returncode == 0
    assert running_in(folder) == set()
    assert up.run("status").returncode == 1
    assert "no bank is up" in up.run("down").stdout
    up.up()
    assert up.status()["edge_url"] == edge_url
    assert (folder.root / "bank.json").read_text() == mark


def test_a_supervisor_that_is_killed_takes_everything_along_and_is_no_obstacle(up):
    folder = up.bank()
    before = running_in(folder)
    assert len(before) > len(PARTS)
    os.kill(up.status()["pid"], signal.SIGKILL)
    eventually(lambda: running_in(folder) == set())
    assert folder.state.exists()
    assert up.status()["phase"] == "down"
    up.up()
    assert up.status()["phase"] == "ready"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_stops_everything(machine, number):
    machine.run("down")
    argv = machine.argv("up", "--from-pex", str(machine.dist))
    foreground = subprocess.Popen(argv, env=machine.environment(), stdout=subprocess.PIPE)
    eventually(lambda: machine.status()["phase"] == "ready", seconds=40)
    foreground.send_signal(number)
    said, _ = foreground.communicate(timeout=40)
    assert b"nothing is left running" in said
    assert foreground.returncode == 0
    assert running_in(machine.bank()) == set()


def test_ctrl_c_while_starting_stops_everything(machine):
    machine.run("down")
    argv = machine.argv("up", "--from-pex", str(machine.dist))
    foreground = subprocess.Popen(argv, env=machine.environment(), stdout=subprocess.DEVNULL)
    # Not by `cbs status`: on a busy machine it takes longer than the bank to start.
    eventually(lambda: (said := state.read(machine.bank().state)) and said.phase == "starting")
    foreground.send_signal(signal.SIGINT)
    assert foreground.wait(40) in (0, 1)
    assert running_in(machine.bank()) == set()


def test_a_service_that_cannot_start_stops_the_bank_and_its_log_says_why(machine):
    machine.run("down")
    pex = machine.dist / "cbs" / "audit.pex"
    good = pex.read_text()
    pex.write_text("raise SystemExit('the audit log is on fire')")
    try:
        failed = machine.run("up", "--detach", "--from-pex", str(machine.dist))
    finally:
        pex.write_text(good)
    assert failed.returncode == 1
    assert "the audit log is on fire" in failed.stdout
    assert running_in(machine.bank()) == set()


def test_logs_are_shown_and_an_unknown_one_is_refused(up):
    assert "starting the bank" in up.run("logs", "supervisor").stdout
    assert "postgres" in up.run("logs").stdout
    assert up.run("logs", "nonsense").returncode == 1
    assert up.run("nonsense").returncode == 2


def test_reset_asks_and_then_erases(machine):
    machine.up()
    folder = machine.bank()
    refused = subprocess.run(
        machine.argv("reset"), env=machine.environment(), input=b"n\n", capture_output=True
    )
    assert refused.returncode == 1
    assert folder.is_bank
    assert machine.run("reset", "--yes").returncode == 0
    assert not folder.root.exists()
    assert running_in(folder) == set()


def test_a_port_that_is_taken_is_left_alone(machine):
    machine.up(bank="other")
    port = urlsplit(machine.status("other")["edge_url"]).port
    machine.run("down", bank="other")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Another bank may have chosen it meanwhile, and must then find it free.
        with suppress(OSError):
            claim = Claim(port)
            with suppress(OSError):
                stranger.bind(("127.0.0.1", port))
                stranger.listen()
            claim.release()
        machine.up(bank="other")
        assert urlsplit(machine.status("other")["edge_url"]).port != port
        machine.run("reset", "--yes", bank="other")


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root has proved it in every other test")
def test_an_ordinary_user_runs_a_bank_too(machine, tmp_path):
    plain = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    argv = machine.argv("up", "--from-pex", str(machine.dist), bank="plain")
    no_home = machine.environment() | {"HOME": "/proc/not-to-be-made"}
    said = tmp_path / "said"
    with said.open("wb") as out:
        foreground = subprocess.Popen([*plain, *argv], env=no_home, stdout=out)
    eventually(
        lambda: foreground.poll() is not None or machine.status("plain")["phase"] == "ready",
        seconds=40,
    )
    foreground.send_signal(signal.SIGTERM)
    assert foreground.wait(40) == 0, said.read_text()
    assert running_in(machine.bank("plain")) == set()


def test_servers_of_the_users_own_are_used_and_reset_leaves_nothing_on_them(
    machine, tmp_path, monkeypatch
):
    claim = choose(15432)
    password, data = tmp_path / "password", tmp_path / "data"
    password.write_text("hunter2-of-the-admin")
    postgres.create(data, password_file=password)
    place = f"127.0.0.1:{claim.port}/postgres"
    with (
        running(
            postgres.command(data, claim.port, postgres.BANK),
            log=tmp_path / "log",
            is_ready=lambda: postgres.is_ready(data),
            stop=signal.SIGINT,
        ),
        nats_server.throwaway() as nats_url,
    ):
        external = {
            "CBS_POSTGRES_URL": f"postgresql://postgres:hunter2-of-the-admin@{place}",
            "CBS_NATS_URL": nats_url.replace("//", f"//t0:{nats_server.TEST_PASSWORD}@"),
        }
        monkeypatch.setattr(machine, "more", external)
        machine.run("down")
        machine.up(bank="external")
        said = machine.status("external")
        assert said["external"] == ["postgres", "nats"]
        assert said["postgres_url"] == f"postgresql://{place}"
        assert said["nats_url"] == nats_url
        assert {part["name"] for part in said["parts"]} == PARTS - {"postgres", "nats"}
        assert "hunter2" not in logs_of(machine.bank("external"))
        another = machine.run("up", "--detach", "--from-pex", str(machine.dist))
        assert another.returncode == 1
        assert "holds another bank" in another.stdout
        assert machine.run("reset", "--yes", bank="external").returncode == 0
        url = external["CBS_POSTGRES_URL"]
        left = databases.in_own_loop(lambda: _names(url))
        assert [name for name in left if name.startswith("cbs_")] == []
    claim.release()


async def _names(url):
    admin = await asyncpg.connect(url)
    try:
        return [
            row[0]
            for row in await admin.fetch(
                "SELECT datname::text FROM pg_database UNION SELECT rolname FROM pg_roles"
            )
        ]
    finally:
        await admin.close()


def test_a_server_that_may_lose_what_it_acknowledged_is_refused(
    machine, postgres_server, monkeypatch
):
    monkeypatch.setattr(machine, "more", {"CBS_POSTGRES_URL": postgres_server})
    machine.run("down")
    refused = machine.run("up", "--detach", "--from-pex", str(machine.dist), bank="external")
    assert refused.returncode == 1
    assert "fsync, full_page_writes is off" in refused.stdout
