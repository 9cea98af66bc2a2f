"""The whole bank on the real Nomad and Consul, as its runbook has it: it ends, and comes back."""

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

import asyncpg
import pytest

from cbs.bank import SERVICES
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.jobs import Jobs
from cbs.tools.local import databases, postgres, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.local.parts import MARK
from cbs.tools.local.process import left_behind
from tests.cluster.clone import Operator, operating

OLD, NEW = "0" * 40, "1" * 40
JOBS = len((*SERVICES, "postgres", "nats", "gateway"))
BUSY, BUSY_FACTS = ("--customers", "20", "--transfers", "5000"), 300
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """One start for all tests here, in their order."""
    with operating() as operator:
        operator.follow("On this machine")
        yield operator


def secrets_of(folder: Folder) -> list[str]:
    files = [*folder["secrets"].iterdir(), *folder["tokens"].iterdir()]
    return [text.rpartition(":")[2].strip() for file in files if (text := file.read_text())]


def shown(folder: Folder) -> str:
    """What anybody on the machine can see of the arguments, and what the logs keep."""
    arguments = [
        each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()
    ]
    logs = [each.read_bytes() for each in folder["logs"].iterdir()]
    return b"\n".join(arguments + logs).decode(errors="replace")


def asked(operator: Operator, service: str, *statements: str) -> Any:
    """What the administrator is told in answer to the last."""

    async def do() -> Any:
        place = f"127.0.0.1:{operator.ports['postgres']}"
        url = f"postgresql://{postgres.ADMIN}@{place}/{databases.runtime_of(service)}"
        admin = await asyncpg.connect(url, passfile=secrets.pgpass(operator.folder, postgres.ADMIN))
        try:
            return [await admin.fetchval(each) for each in statements][-1]
        finally:
            await admin.close()

    return asyncio.run(do())


def spoil(operator: Operator, minor: int) -> str:
    """Changes one customer's balance past every rule of the database; returns its number."""
    first = "SELECT min(number) FROM account WHERE kind = 'customer'"
    changed = f"UPDATE account SET balance_minor = balance_minor + {minor} WHERE number = ({first})"
    past_rules = "SET session_replication_role = replica"
    return str(asked(operator, "ledger", past_rules, f"{changed} RETURNING number"))


def within_a_minute(operator: Operator, *words: str, code: int) -> str:
    """What a command said when it ended with the code."""
    until = time.monotonic() + 60
    while (said := operator.refused(*words))[0] != code:
        assert time.monotonic() < until, said
        time.sleep(0.5)
    return said[1]


def head(operator: Operator) -> int:
    """How many facts the ledger has said."""
    return int(asked(operator, "ledger", "SELECT position FROM outbox_head"))


def test_every_job_is_well_and_no_secret_is_seen(operator):
    rows = {row["job"]: row for row in json.loads(operator.cbs("cluster", "status", "--json"))}
    folder = operator.folder

    assert set(rows) >= {"cbs-gateway", "cbs-ledger", "cbs-verify", "cbs-backup"}
    assert json.loads(operator.cbs("cluster", "plan", "--env", "laptop", "--json")) == []
    assert operator.shas("ledger") == {OLD}
    seen = shown(folder)
    assert not [secret for secret in secrets_of(folder) if secret in seen]
    assert not [each for each in folder["secrets"].iterdir() if each.stat().st_mode & 0o077]


def test_one_that_hangs_is_told_of_until_it_answers_again(operator):
    (alloc,) = operator.api("nomad").get("/v1/job/cbs-customers/allocations")

    def signal(name: str) -> None:
        body = {"Task": "service", "Signal": name}
        operator.api("nomad").put(f"/v1/client/allocation/{alloc['ID']}/signal", body)

    signal("SIGSTOP")
    try:
        shown = within_a_minute(operator, "cluster", "status", code=1)
    finally:
        signal("SIGCONT")
    row = re.search(
        r"^cbs-customers +0 of 1 well, .*: ready is critical, .*timeout", shown, re.M | re.I
    )

    assert row, shown
    assert len(re.findall(r"^cbs-\S+ +1 of 1 well", shown, re.M)) == JOBS - 1, shown
    within_a_minute(operator, "cluster", "status", code=0)


def test_without_an_answer_of_consul_nothing_is_well_and_its_silence_is_told(operator):
    nobody = Api.at("consul", "http://127.0.0.1:1", "")

    said = Jobs(nomad=operator.api("nomad"), consul=nobody, values="").state("cbs-ledger")

    assert not said["well"] and not said["failed"]
    assert "no consul answers at http://127.0.0.1:1" in said["said"]


def test_the_nightly_jobs_verify_the_bank_and_make_a_backup_that_restores(operator):
    said = operator.follow("Every night")

    assert "0 violated, 0 cannot be said" in said
    assert "the bank is restored in" in said
    assert f"then ./cbs up --data {operator.root}/.cbs-restored and" in said
    assert Folder.at(operator.root / ".cbs-restored").id == operator.folder.id
    (shelf,) = operator.root.glob(".cbs-cluster-backups")
    assert {file.stat().st_mode & 0o77 for file in [shelf, *shelf.iterdir()]} == {0}


def test_a_wrong_balance_fails_the_run_of_verify_which_names_it(operator):
    number = spoil(operator, 1)
    try:
        code, said = operator.refused("cluster", "run", "verify")
        status, shown = operator.refused("cluster", "status")
    finally:
        spoil(operator, -1)

    assert (code, status) == (1, 1)
    for text in (said, shown):
        assert f"violated: ledger balances: number {number}" in text, text
    assert "Exit Code: 1" in shown
    operator.cbs("cluster", "run", "verify")
    operator.cbs("cluster", "status")


def test_a_new_version_is_taken_or_taken_back_and_the_books_hold(operator):
    operator.sha = NEW
    operator.made_anew()

    operator.follow("A new version, and the way back")

    assert {service: operator.shas(service) for service in SERVICES} == {
        service: {OLD if service == "ledger" else NEW} for service in SERVICES
    }
    operator.cbs("cluster", "status")


def test_all_killed_at_once_it_answers_as_soon_as_it_says_so_and_the_books_hold(operator):
    mark = f"{MARK}={operator.folder.root}"
    demo = threading.Thread(target=operator.refused, args=("demo", "--data", ".cbs-cluster", *BUSY))
    demo.start()
    before = head(operator)
    while head(operator) < before + BUSY_FACTS:
        time.sleep(0.2)
    while left := left_behind(mark):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
    demo.join()

    operator.cbs("cluster", "dev", "--detach")
    status = operator.cbs("cluster", "status")

    assert len(re.findall(r"^cbs-\S+ +1 of 1 well", status, re.M)) == JOBS
    assert head(operator) >= before + BUSY_FACTS
    operator.cbs("verify", "--data", ".cbs-cluster")
    operator.cbs("demo", "--data", ".cbs-cluster", "--customers", "3", "--transfers", "10")


def test_it_ends_without_a_trace_and_comes_back_from_its_backup(operator):
    folder = operator.folder
    newest = max(operator.root.glob(".cbs-cluster-backups/2*/manifest.json"))
    then = json.loads(newest.read_text())["facts"]["ledger"]
    more = ("--customers", "3", "--transfers", "10")
    operator.cbs("demo", "--data", ".cbs-cluster", *more)
    assert head(operator) > then
    operator.follow("To end it")
    assert not left_behind(f"{MARK}={folder.root}")
    assert str(folder.root) not in Path("/proc/self/mounts").read_text()

    said = operator.follow("Back from a backup")

    assert "0 violated, 0 cannot be said" in said
    assert head(operator) == then
