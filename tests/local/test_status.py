"""`cbs status` says what a caller gets, and not what a part says of itself."""

import http.client
import json
import os
import signal
import subprocess
import time
from contextlib import closing, contextmanager, suppress

import pytest

from cbs.bank import SERVICES
from cbs.tools.local import secrets
from cbs.tools.local.databases import connected, in_own_loop
from cbs.tools.local.postgres import ADMIN, with_database
from tests.local.machine import eventually, machine_at

DISK_BYTES = 512 << 20


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """On a small disk of its own, where that is allowed."""
    root = tmp_path_factory.mktemp("status")
    disk = root / "bank"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(disk)]
    subprocess.run(mount, check=False, capture_output=True)
    try:
        with machine_at(root, 1) as machine:
            machine.up()
            yield machine
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)


def fill(disk):
    """To the last block; returns what took the room."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    assert os.statvfs(disk).f_bfree == 0
    return ballast


def said_of(machine):
    """The exit code, the reasons with their parts, and what a person reads."""
    answered = machine.run("status")
    said = machine.status()
    assert said["ready"] is (answered.returncode == 0), answered.stdout
    assert all(each["why"] and each["next_step"] for each in said["reasons"])
    return said["ready"], {each["part"]: each["why"] for each in said["reasons"]}, answered.stdout


@contextmanager
def standing_still(machine, part):
    """For less than it takes until it is replaced."""
    pid = machine.part(part)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_bank_that_answers_and_writes_is_ready(up):
    ready, reasons, read = said_of(up)
    assert (ready, reasons) == (True, {})
    assert read.startswith("ready: ")


def test_on_a_full_disk_the_bank_is_not_ready_and_goes_on_when_there_is_room(up):
    disk = up.bank().root
    if not disk.is_mount():
        pytest.skip("only root can have disks to fill, where it may mount")
    supervisor, audit = up.status()["pid"], up.part("audit")
    ballast = fill(disk)
    try:
        ready, reasons, read = said_of(up)
        os.kill(audit["pid"], signal.SIGKILL)  # which the supervisor can tell nobody
        time.sleep(1)
    finally:
        ballast.unlink()
    assert not ready
    assert f"the disk of {disk} is full" in reasons["disk"]
    assert "make room there" in read
    # Whatever the disk says of itself: they were asked to write.
    assert set(SERVICES) < set(reasons)
    assert "No space left on device" in reasons["ledger"]
    eventually(lambda: said_of(up)[:2] == (True, {}))
    assert up.status()["pid"] == supervisor
    assert up.part("audit")["restarts"] > audit["restarts"]


def test_a_database_that_takes_no_writes_is_not_ready(up):
    url = with_database(up.status()["postgres_url"], "postgres", ADMIN)
    passfile = secrets.pgpass(up.bank(), ADMIN)

    async def read_only(value):
        async with connected(url, passfile=passfile) as admin:
            await admin.execute(
                f"ALTER ROLE cbs_ledger SET default_transaction_read_only = {value}"
            )

    in_own_loop(lambda: read_only("on"))
    try:
        ready, reasons, _ = said_of(up)
    finally:
        in_own_loop(lambda: read_only("off"))
    assert (ready, reasons) == (False, {"ledger": "its database takes no writes: it is read-only"})


def test_a_service_that_is_ready_by_its_own_account_and_useless_is_not_ready(up):
    broken = up.bank()["registry"] / "broken-ledger"
    broken.touch()
    try:
        ready, reasons, read = said_of(up)
    finally:
        broken.unlink()
    assert (ready, set(reasons)) == (False, {"ledger"})
    assert "503 unavailable: The disk is on fire." in read


@pytest.mark.parametrize("part", ["ledger", "nats", "postgres", "edge"])
def test_what_stands_still_is_not_ready(up, part):
    with standing_still(up, part):
        answered = up.run("status")
    assert answered.returncode == 1
    assert "not ready: " in answered.stdout
    said = {"edge": "nobody answers at", "ledger": "ledger: a caller gets no answer in"}
    assert said.get(part, f"{part}: it gives no answer") in answered.stdout
    assert up.run("status").returncode == 0


def test_a_drained_edge_is_not_ready(up):
    ports = json.loads((up.bank().root / "ports.json").read_text())
    before = up.part("edge")["pid"]
    with closing(http.client.HTTPConnection("127.0.0.1", ports["edge-admin"])) as admin:
        admin.request("POST", "/drain_listeners")
        assert admin.getresponse().status == 200
    ready, reasons, read = said_of(up)
    assert (ready, set(reasons)) == (False, {"edge"})
    assert "see ./cbs logs edge" in read
    os.kill(before, signal.SIGKILL)
