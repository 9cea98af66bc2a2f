"""A bank in a clone of its own, people who pay, and an operator who does what the runbook says."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from cbs.bank import SERVICES
from cbs.tools.cli import __main__ as program
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.local import databases, postgres, secrets, state
from cbs.tools.local.folder import Folder
from cbs.tools.local.plan import SOURCE
from cbs.tools.local.postgres import with_database
from cbs.tools.local.public_api import PublicApi
from cbs.tools.ops.verify.verify import places_of

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BALANCES = "SELECT number, balance_minor, postings FROM account ORDER BY number"
HEAD = "SELECT position FROM outbox_head"
KEYS = "SELECT principal, key, fingerprint, status, body FROM request ORDER BY principal, key"
FUNDS_MINOR, PAUSE_SECONDS = 1_000_000, 0.02
assert program  # run as `python -m cbs.tools.cli` below


@dataclass(frozen=True, slots=True)
class Standing:
    """What the bank owes to whom, how often it was moved, and what each service has said."""

    balances: list[tuple[Any, ...]]
    transactions: int
    facts: Mapping[str, int]
    keys: Mapping[str, list[tuple[Any, ...]]]


class Town:
    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, Folder.at(root / ".cbs")
        self.repository = root / ".cbs-backups"
        shim = root / "cbs"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cbs.tools.cli "$@"\n')
        shim.chmod(0o755)
        self.accounts: list[str] = []

    def run(self, *words: str, **named: str) -> subprocess.CompletedProcess[str]:
        """Type these words, with these variables set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CBS_")}
        mine = {"PYTHONPATH": str(SOURCE), "CBS_DATA": str(self.folder.root)}
        return subprocess.run(
            words,
            cwd=self.root,
            env=kept | mine | named,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def cbs(self, *words: str) -> str:
        done = self.run("./cbs", *words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *words: str) -> tuple[int, str]:
        done = self.run("./cbs", *words)
        return done.returncode, done.stdout + done.stderr

    def follow_runbook(
        self, heading: str, page: str = "backup-and-restore.md", **named: str
    ) -> str:
        """Type what stands under a heading of the page."""
        section = re.split(r"^## ", (PAGES / page).read_text(), flags=re.M)
        (wanted,) = [each for each in section if each.startswith(f"{heading}\n")]
        blocks = re.findall(r"^```sh\n(.*?)^```$", wanted, re.S | re.M)
        assert blocks, heading
        done = self.run("bash", "-ec", "\n".join(blocks), **named)
        assert done.returncode == 0, f"{heading}: {done.stdout}{done.stderr}"
        return done.stdout

    async def settle(self, count: int) -> None:
        """People come, open an account and bring money."""
        api = PublicApi.of(self.folder, "teller")
        for n, somebody in zip(range(count), people("town"), strict=False):
            form = registration(somebody)
            number = await account_of(api, form, product="SAVINGS-INR", key=f"town-{n}")
            self.accounts.append(number)
            deposit = {"account": number, "amount_minor": FUNDS_MINOR, "currency": "INR"}
            await api.post("/v1/payments/deposits", deposit, dict, key=f"town-{n}-d")
        api.close()

    def pay(self, amount_minor: int, key: str = "", payer: int = 0) -> tuple[int, Any]:
        body = {
            "remitter_account": self.accounts[payer],
            "beneficiary_account": self.accounts[payer - 1],
            "amount_minor": amount_minor,
            "currency": "INR",
        }
        return self.ask("POST", "/v1/payments/transfers", body, key or uuid4().hex)

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        now = state.read(self.folder.state)
        assert now is not None
        token = self.folder.token("teller").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            now.edge_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers | {"Idempotency-Key": key or uuid4().hex},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def pid(self) -> int:
        """The supervisor's; without it every part ends at once."""
        now = state.read(self.folder.state)
        assert now is not None
        return now.pid

    def standing(self) -> Standing:
        """Of the bank that is up."""
        places = places_of(self.folder)
        return asyncio.run(_standing({s: (p.url, p.passfile) for s, p in places.items()}))

    def administer(self, statement: str, database: str = "postgres") -> Any:
        """The administrator's own SQL; returns its first value."""
        now = state.read(self.folder.state)
        assert now is not None
        url = with_database(now.postgres_url, database, postgres.ADMIN)
        (value,) = administer(url, secrets.pgpass(self.folder, postgres.ADMIN), statement)
        return value


def administer(url: str, passfile: Path | None, *statements: str) -> Any:
    async def ask() -> Any:
        admin = await asyncpg.connect(url, passfile=passfile)
        try:
            return [await admin.fetchval(statement) for statement in statements][-1:]
        finally:
            await admin.close()

    return asyncio.run(ask())


def standing_behind(url: str) -> Standing:
    """As the administrator finds it in a server of which only that URL is known."""
    return asyncio.run(
        _standing({s: (with_database(url, databases.runtime_of(s)), None) for s in SERVICES})
    )


async def _standing(places: Mapping[str, tuple[str, Path | None]]) -> Standing:
    facts, keys = {}, {}
    for service, (url, passfile) in places.items():
        inside = await asyncpg.connect(url, passfile=passfile)
        facts[service] = await inside.fetchval(HEAD)
        keys[service] = [tuple(row) for row in await inside.fetch(KEYS)]
        if service == "ledger":
            balances = [tuple(row) for row in await inside.fetch(BALANCES)]
            transactions = await inside.fetchval("SELECT count(*) FROM transaction")
        await inside.close()
    return Standing(balances, transactions, facts, keys)


class Traffic(threading.Thread):
    """Pays one paisa after another until it is enough; `accepted` have an answer."""

    def __init__(self, town: Town, payer: int) -> None:
        super().__init__()
        self.town, self.payer, self.accepted = town, payer, 0
        self.enough = threading.Event()
        self.wrong: list[Any] = []

    def run(self) -> None:
        while not self.enough.is_set():
            status, answer = self.town.pay(1, payer=self.payer)
            if status == 201:
                self.accepted += 1
            else:
                self.wrong.append((status, answer))
            time.sleep(PAUSE_SECONDS)

    def __enter__(self) -> "Traffic":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.join()
