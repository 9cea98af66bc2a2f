"""Whatever file of a bank is damaged: up mends it, or says which it is and what to do."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import typer
from rich.console import Console

from cbs.bank import SERVICES
from cbs.tools.local import commands, state
from cbs.tools.local.plan import SOURCE
from cbs.tools.local.process import started
from cbs.tools.local.state import BankState
from tests.local import damage
from tests.local.machine import logs_of, machine_at

# Of a user who may not simply read everything, as root may.
AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
PLAIN = AS_OTHERS if os.geteuid() == 0 else []
LOST = re.compile(r"(is at work on the bank|was first \(pid).*\n?.*next: ", re.S)
TRACEBACK = "Traceback (most recent call last)"
# Only a copy brings these back; all else can be made anew.
IRREPLACEABLE = {"bank.json", "secrets/vault.key"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank with stand-in services that has been up, and is down."""
    with machine_at(tmp_path_factory.mktemp("damage"), 3) as machine:
        machine.up()
        machine.run("down")
        yield machine


def walked(machine, kind):
    """File -> what up said of it when it was damaged; nothing of what it mends."""
    done = subprocess.run(
        [*PLAIN, sys.executable, "-m", "tests.local.damage", str(machine.bank().root), kind],
        env=machine.environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", damage.DAMAGE)
def test_a_damaged_file_is_named_with_the_next_step_or_mended(bank, kind):
    root = bank.bank().root
    found = walked(bank, kind)
    assert len(found) > 50
    refused = {name: said for name, said in found.items() if said}
    for name, said in refused.items():
        assert str(root / name) in said, (name, said)
        assert "next: " in said, (name, said)
        assert TRACEBACK not in said
    if kind == "removed":
        assert set(refused) == IRREPLACEABLE
    elif kind == "unreadable":
        assert refused
    else:
        assert set(refused) >= IRREPLACEABLE
    if kind != "folder":
        # Logs are opened by who writes to them, and not before.
        logs = "logs/" if kind == "unreadable" else "none"
        mended = [name for name in found if name not in refused and not name.startswith(logs)]
        _all_mended(bank, kind, mended)


def _as_it_is(path):
    return (path.stat().st_mode, path.read_bytes()) if path.exists() else None


def _all_mended(bank, kind, names):
    """What up gets past, it also mends: all of it at once, on the real servers."""
    root = bank.bank().root
    kept = root.with_name("kept")
    # What the server has been told meanwhile is not put back.
    not_kept = shutil.ignore_patterns("postgres", "store", "postgres.pgpass")
    shutil.copytree(root, kept, symlinks=True, ignore=not_kept)
    try:
        for name in names:
            damage.DAMAGE[kind](root / name)
        damaged = {name: _as_it_is(root / name) for name in names}
        words = bank.argv("up", "--detach", "--from-pex", str(bank.dist))
        up = subprocess.run(
            [*PLAIN, *words], env=bank.environment(), capture_output=True, text=True, timeout=60
        )
        assert up.returncode == 0, up.stdout + up.stderr
        assert bank.run("status").returncode == 0
        # An instance of before is signed off; a log is gone on with.
        rest = [name for name in names if not name.startswith(("registry/", "logs/"))]
        assert [name for name in rest if _as_it_is(root / name) == damaged[name]] == []
    finally:
        bank.run("down")
        shutil.copytree(kept, root, dirs_exist_ok=True)
        shutil.rmtree(kept)


@pytest.mark.parametrize(
    "name",
    [
        "nats/nats.conf",
        "edge/envoy.json",
        "edge/ledger.json",
        "logs/ledger.log",
        "logs/nats.log",
        "logs/supervisor.log",
        "logs/supervisor.errors.log",
    ],
)
def test_what_up_only_writes_is_named_where_it_cannot_be_written(bank, name):
    path = bank.bank().root / name
    with damage.put_back(path):
        damage.DAMAGE["folder"](path)
        refused = bank.run("up", "--detach", "--from-pex", str(bank.dist))
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1, said
    assert str(path) in said
    assert "next: move away the folder" in said
    assert TRACEBACK not in said


@pytest.mark.parametrize("kind", ["garbage", "removed"])
@pytest.mark.parametrize(
    "name",
    ["PG_VERSION", "postgresql.conf", "pg_hba.conf", "global/pg_control"],
)
def test_a_damaged_postgresql_is_told_of_with_its_log(bank, name, kind):
    path = bank.bank().root / "postgres" / "data" / name
    with damage.put_back(path):
        damage.DAMAGE[kind](path)
        refused = bank.run("up", "--detach", "--from-pex", str(bank.dist))
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1, said + logs_of(bank.bank())
    assert "next: " in said
    assert str(bank.bank().log("postgres")) in said
    assert TRACEBACK not in said


def test_the_wrong_password_of_the_administrator_is_told_of_and_a_missing_one_is_set_anew(bank):
    path = bank.bank().secret("postgres.pgpass")
    good = path.read_text()
    path.write_text(good.rpartition(":")[0] + f":{'0' * 48}\n")
    refused = bank.run("up", "--detach", "--from-pex", str(bank.dist))
    assert refused.returncode == 1
    assert f"{path} does not hold its password" in refused.stdout
    assert "next: put it back from a copy, or remove it" in refused.stdout
    path.unlink()
    bank.up()
    assert bank.run("status").returncode == 0
    bank.run("down")
    assert path.read_text() != good


def test_who_comes_second_is_told_by_whom_the_bank_is_locked(bank):
    words = ("--from-pex", str(bank.dist))
    with bank.bank().lock():
        for refused in (bank.run("up", "--detach", *words), bank.run("up", *words)):
            said = refused.stdout + refused.stderr
            assert refused.returncode == 1
            assert f"another process (pid {os.getpid()})" in said
            assert str(bank.bank().root / "run" / "lock") in said
            assert "next: " in said


def test_who_comes_while_another_is_starting_it_is_told_so(bank, monkeypatch, capsys):
    folder, pid = bank.bank(), os.getpid()
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    starting = BankState(pid=pid, identity=started(pid) or "", phase="starting", since=0)
    state.write(folder.state, starting)
    try:
        with pytest.raises(typer.Exit) as ended:
            commands.detached(folder, Console(), ["up", "--from-pex", str(bank.dist)])
    finally:
        folder.state.unlink()
    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert f"another ./cbs up was first (pid {pid}): its bank is starting" in said
    assert "next: see ./cbs status" in said


def test_of_several_who_start_one_bank_at_once_one_does_and_each_other_says_why_not(bank):
    words = bank.argv("up", "--detach", "--from-pex", str(bank.dist), bank="new")
    racing = [
        subprocess.Popen(
            words,
            env=bank.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    said = [each.communicate(timeout=60)[0] for each in racing]
    for each, text in zip(racing, said, strict=True):
        assert TRACEBACK not in text
        assert each.returncode == 0 or LOST.search(text), text
    assert 0 in [each.returncode for each in racing]
    assert bank.run("status", bank="new").returncode == 0
    assert {part["name"] for part in bank.status("new")["parts"]} > set(SERVICES)
