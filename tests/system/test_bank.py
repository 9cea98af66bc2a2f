"""The bank as it is delivered: PEXes on real servers, through the README and through trouble."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cbs.bank import SERVICES
from cbs.tools.cli import __main__ as program
from cbs.tools.local.folder import Folder
from cbs.tools.local.parts import MARK
from cbs.tools.local.plan import SOURCE
from cbs.tools.local.process import left_behind

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX, TRANSFER_SECONDS_MAX = 60, 40
assert program  # run as `python -m cbs.tools.cli` below


class Clone:
    """A clone with its PEXes built, and a user who types what the README says."""

    def __init__(self, root: Path, dist: Path) -> None:
        self.root, self.dist = root, dist
        shim = root / "cbs"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cbs.tools.cli "$@"\n')
        shim.chmod(0o755)

    @property
    def folder(self) -> Folder:
        return Folder.at(self.root / ".cbs")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CBS_")}
        return kept | {"PYTHONPATH": str(SOURCE), "CBS_DATA": str(self.root / ".cbs")}

    def run(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def cbs(self, *words: str, seconds: float = 120) -> str:
        done = self.run("./cbs", *words, seconds=seconds)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        # Exit 1 while a part is not ready: an answer, too.
        said: dict[str, Any] = json.loads(self.run("./cbs", "status", "--json").stdout)
        return said

    def part(self, name: str) -> dict[str, Any]:
        return next(part for part in self.status()["parts"] if part["name"] == name)

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        token = (self.root / ".cbs" / "tokens" / "teller").read_text().strip()
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "Idempotency-Key": key or uuid4().hex,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused) if refused.code < 500 else None

    url = ""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    dist = next(
        (each for each in (ROOT, ROOT / "dist") if (each / "cbs/ledger.pex").exists()), None
    )
    if dist is None:
        pytest.skip("no PEXes: run this through ./pants, or ./pants package :: first")
    clone = Clone(tmp_path_factory.mktemp("clone"), dist)
    try:
        clone.cbs("up", "--detach", "--from-pex", str(dist), seconds=240)
        clone.url = clone.status()["edge_url"]
        yield clone
    finally:
        clone.run("./cbs", "down")


@pytest.fixture(scope="module")
def accounts(clone: Clone) -> dict[str, str]:
    """The two accounts that the README opens, by the name of its shell variable."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.S | re.M)
    (block,) = [block for block in blocks if "open_account" in block]
    script = clone.root / "readme.sh"
    script.write_text(f'{block}\necho "numbers $ASHA $BINA"\n')
    done = clone.run("bash", "-e", str(script))
    assert done.returncode == 0, done.stdout + done.stderr
    *_, balance, numbers = done.stdout.splitlines()
    assert balance == "125050"
    _, asha, bina = numbers.split()
    return {"asha": asha, "bina": bina}


def test_the_readmes_first_transfer_works_as_the_readme_has_it(clone, accounts):
    _, asha = clone.ask("GET", f"/v1/accounts/by-number/{accounts['asha']}")

    assert asha["balance_minor"] == 500000 - 125050


def test_the_demo_ends_with_books_that_balance(clone):
    said = clone.cbs("demo", "--customers", "12", "--transfers", "200", seconds=200)

    assert "200" in said


def test_a_history_is_replayed_to_the_same_balances(clone):
    history = ROOT / "tests" / "history" / "small"
    first = clone.run("./cbs", "demo", "--history", str(history), seconds=200)
    again = clone.run("./cbs", "demo", "--history", str(history), seconds=200)

    for done in (first, again):
        said = done.stdout + done.stderr
        # Of ten lines it says why they are left out, and so it is no success.
        assert done.returncode == 1, said
        assert "bad lines     10" in said and "differences   0" in said, said


class Traffic(threading.Thread):
    """Pays one paisa after another; what is not answered is asked again with its key."""

    def __init__(self, clone: Clone, accounts: dict[str, str]) -> None:
        super().__init__()
        self.clone, self.enough = clone, threading.Event()
        self.accepted, self.lost = 0, 0
        self.body = {
            "remitter_account": accounts["asha"],
            "beneficiary_account": accounts["bina"],
            "amount_minor": 1,
            "currency": "INR",
        }

    def run(self) -> None:
        while not self.enough.is_set():
            if self.pay(uuid4().hex):
                self.accepted += 1
            else:
                self.lost += 1

    def pay(self, key: str) -> bool:
        deadline = time.monotonic() + TRANSFER_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                status, _ = self.clone.ask("POST", "/v1/payments/transfers", self.body, key)
            except (OSError, HTTPException):  # also an answer cut off in its middle
                status = 0
            if status == 201:
                return True
            assert status in (0, 429, 500, 502, 503, 504), status
            time.sleep(0.1)
        return False


# Each of eight parts may take READY_SECONDS_MAX to come back.
@pytest.mark.timeout(9 * READY_SECONDS_MAX)
def test_any_process_can_be_killed_under_traffic_and_nothing_is_lost(clone, accounts):
    _, before = clone.ask("GET", f"/v1/accounts/by-number/{accounts['bina']}")
    traffic = [Traffic(clone, accounts) for _ in range(4)]
    for each in traffic:
        each.start()
    for name in (*SERVICES, "nats", "edge", "postgres"):
        killed = clone.part(name)
        os.kill(killed["pid"], signal.SIGKILL)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while (now := clone.part(name))["health"] != "ready" or now["pid"] == killed["pid"]:
            assert time.monotonic() < deadline, f"{name} did not come back: {now}"
            time.sleep(0.2)
        assert now["restarts"] == killed["restarts"] + 1
    time.sleep(1)
    for each in traffic:
        each.enough.set()
    for each in traffic:
        each.join(2 * TRANSFER_SECONDS_MAX)
    accepted = sum(each.accepted for each in traffic)
    _, after = clone.ask("GET", f"/v1/accounts/by-number/{accounts['bina']}")

    assert sum(each.lost for each in traffic) == 0
    assert accepted > 20
    assert after["balance_minor"] - before["balance_minor"] == accepted


def test_the_books_are_whole_after_all_that(clone):
    clone.cbs("verify", seconds=180)


def test_no_secret_is_in_a_log_or_on_a_command_line(clone):
    secrets = {
        text
        for place in ("secrets", "tokens")
        for file in (clone.root / ".cbs" / place).rglob("*")
        if file.is_file() and file.suffix != ".header"
        for text in [file.read_text(errors="ignore").strip()]
        if len(text) >= 32
    }
    assert len(secrets) > 5
    logs = "".join(file.read_text() for file in (clone.root / ".cbs" / "logs").glob("*"))
    argv = ""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv += process.read_bytes().decode(errors="ignore")
        except OSError:
            continue

    assert [secret[:8] for secret in secrets if secret in logs or secret in argv] == []


def test_down_leaves_nothing_running_and_up_again_has_the_money(clone, accounts):
    _, before = clone.ask("GET", f"/v1/accounts/by-number/{accounts['bina']}")
    clone.cbs("down")
    assert set(left_behind(f"{MARK}={clone.folder.root}")) == set()

    clone.cbs("up", "--detach", "--from-pex", str(clone.dist), seconds=120)
    clone.url = clone.status()["edge_url"]
    _, after = clone.ask("GET", f"/v1/accounts/by-number/{accounts['bina']}")

    assert after["balance_minor"] == before["balance_minor"]
    clone.cbs("down")
    assert set(left_behind(f"{MARK}={clone.folder.root}")) == set()
