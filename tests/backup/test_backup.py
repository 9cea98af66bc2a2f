"""One bank's story, in order: backed up at work, damaged, lost, restored, and its equal."""

import asyncio
import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest

from cbs.tools.local import databases, postgres, secrets, state
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import with_database
from cbs.tools.ops.backup import manifest, recovery
from tests.backup.town import FUNDS_MINOR, Standing, Town, Traffic, administer, standing_behind

PEOPLE, PAYMENTS = 6, 20
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    town = Town(tmp_path_factory.mktemp("town"))
    try:
        town.cbs("up", "--detach")
        asyncio.run(town.settle(PEOPLE))
        yield town
    finally:
        town.run("./cbs", "down")


class Noon(NamedTuple):
    """A moment after the first backup, and how the bank stood then."""

    moment: str
    standing: Standing
    key: str
    answer: Any
    backup: dict[str, Any]


@pytest.fixture(scope="module")
def noon(town) -> Noon:
    """Backed up under traffic; after the moment the bank goes on, and archives that too."""
    with Traffic(town, 1) as traffic:
        town.follow_runbook("Before anything happens")
        backup = json.loads(town.cbs("backup", "--json"))
    assert traffic.accepted > 10 and not traffic.wrong
    for _ in range(PAYMENTS):
        assert town.pay(7)[0] == 201
    status, answer = town.pay(1_000, key="paid-at-noon-2026")
    assert status == 201
    standing = town.standing()
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    status, _ = town.pay(2_000, key="paid-after-noon-2026")
    assert status == 201
    for _ in range(PAYMENTS):
        assert town.pay(3, payer=2)[0] == 201
    return Noon(moment, standing, "paid-at-noon-2026", answer, backup)


def archived(town):
    """What PostgreSQL does by itself once a minute."""
    last = town.administer("SELECT pg_walfile_name(pg_switch_wal())")
    deadline = time.monotonic() + 30
    while not town.administer(
        f"SELECT coalesce(last_archived_wal >= '{last}', false) FROM pg_stat_archiver"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def standing_in(town, name, *then):
    """How a bank that is not up stands, in a folder of the clone; statements may follow."""
    folder, log = Folder.at(town.root / name), town.root / "private.log"
    archiving = postgres.archiving(folder.archive)
    data = folder["postgres"] / "data"
    with recovery.private_server(data, log=log, settings=archiving) as url:
        standing = standing_behind(url)
        administer(url, None, *then)
    return standing


def place_of(town, name):
    """Changes when anything is put into the place of a bank's data."""
    return (town.root / name / "postgres" / "data").stat()


def test_a_backup_says_what_it_has_and_holds_no_secret(town, noon):
    backup = noon.backup
    words = {
        text
        for file in town.folder["secrets"].iterdir()
        if len(text := file.read_text().strip().rpartition(":")[2]) >= 32
    }

    assert 0 < backup["facts"]["ledger"] <= noon.standing.facts["ledger"]
    assert backup["owed_minor"] == {"INR": PEOPLE * FUNDS_MINOR}
    assert backup["bank"] == town.folder.id
    assert len(words) > 5
    for file in town.repository.rglob("*"):
        if file.is_file() and file.stat().st_size < 1 << 20:
            content = file.read_bytes()
            assert [s[:4] for s in words if s.encode() in content] == [], file
    assert {
        file.stat().st_mode & 0o77 for file in [town.repository, *town.repository.iterdir()]
    } == {0}


def test_a_moment_comes_back_elsewhere_with_every_balance_key_and_position(town, noon):
    archived(town)
    key = town.root / "vault.key"
    shutil.copy(town.folder.secret("vault.key"), key)
    words = ("restore", str(town.repository), "--data", "elsewhere", "--at", noon.moment)

    code, why = town.refused(*words)
    assert (code, "--vault-key" in why) == (1, True), why
    assert not (town.root / "elsewhere").exists()
    said = json.loads(town.cbs(*words, "--vault-key", str(key), "--json"))

    assert standing_in(town, "elsewhere") == noon.standing
    assert said["facts"] == noon.standing.facts
    assert Folder.at(town.root / "elsewhere").id == town.folder.id
    assert said["last_change"] <= noon.moment


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("nowhere",), 2, "does not exist"),
        ((".cbs/logs",), 2, "holds no backup"),
        ((".cbs-backups", "--at", "noon"), 2, "2026-11-24T10:15:00Z"),
        ((".cbs-backups", "--at", "2026-11-24T10:15:00"), 2, "in which zone"),
        ((".cbs-backups", "--service", "cards"), 2, "there is customers"),
        ((".cbs-backups", "--at", "2026-01-01T00:00:00Z", "--data", "x"), 1, "an older backup"),
        ((".cbs-backups", "--service", "payments", "--data", "x"), 1, "has no bank in which"),
        ((".cbs-backups", "--yes"), 1, "is up: ./cbs down"),
        ((".cbs-backups", "--data", "elsewhere"), 1, "Replace what the bank in"),
    ],
)
def test_what_cannot_be_restored_is_refused_with_what_to_do(town, noon, words, code, why):
    before = place_of(town, "elsewhere")

    said_code, said = town.refused("restore", *words)

    assert (said_code, why in " ".join(said.split())) == (code, True), said
    assert not (town.root / "x").exists()
    assert place_of(town, "elsewhere") == before


def test_a_moment_that_is_not_archived_yet_is_refused_and_nothing_is_touched(town, noon):
    before = place_of(town, "elsewhere")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    code, why = town.refused(
        "restore", str(town.repository), "--data", "elsewhere", "--at", later, "--yes"
    )

    assert (code, "the last change that is archived is of" in why) == (1, True), why
    assert place_of(town, "elsewhere") == before


@pytest.mark.parametrize("part", ["table", "list of files", "manifest", "wal", "wal lost"])
def test_damage_is_found_before_anything_is_replaced(town, noon, part):
    before, repository = place_of(town, "elsewhere"), town.root / "damaged"
    shutil.copytree(town.repository, repository, copy_function=os.link)
    backup = repository / noon.backup["name"]
    segments = sorted((repository / noon.backup["wal"]).glob("*.gz"))
    victim = {
        "table": max(backup.glob("data/base/*/*"), key=lambda file: file.stat().st_size),
        "list of files": backup / "data" / "backup_manifest",
        "manifest": backup / "manifest.json",
        "wal": segments[-1],
        "wal lost": segments[-2],
    }[part]
    content = bytearray(victim.read_bytes())
    victim.unlink()  # it is a link: the backup itself stays well
    if part != "wal lost":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    try:
        code, why = town.refused("restore", str(backup), "--data", "elsewhere", "--yes")
    finally:
        shutil.rmtree(repository)

    assert code == 1
    assert "another backup" in why or "use another" in why or "earlier moment" in why, why
    assert place_of(town, "elsewhere") == before


def test_a_source_of_facts_comes_back_alone_only_with_all_that_others_heard_of_it(town, noon):
    before = town.standing()
    town.cbs("down")
    words = ("restore", str(town.repository), "--service", "ledger", "--yes")

    code, why = town.refused(*words, "--at", noon.moment)

    heard = noon.standing.facts["ledger"]
    assert (code, before.facts["ledger"] - heard > PAYMENTS) == (1, True)
    assert f"audit has heard {before.facts['ledger']} facts of ledger, not {heard}" in why
    assert f"payments has heard {before.facts['ledger']} facts of ledger, not {heard}" in why
    assert f"    {heard + 1} transaction-posted of " in why
    assert standing_in(town, ".cbs") == before
    town.cbs(*words)
    assert standing_in(town, ".cbs") == before


def test_a_service_that_listens_comes_back_alone_and_hears_again_what_it_lacks(town, noon):
    before = standing_in(town, ".cbs", "DROP DATABASE cbs_payments")
    words = ("restore", str(town.repository), "--yes", "--service")
    code, why = town.refused(*words, "payments")
    assert (code, "had no database any more" in why) == (1, True), why
    code, why = town.refused(*words, "ledger")
    assert (code, "payments has no database to compare with" in why) == (1, True), why

    town.follow_runbook("One service has lost its database", SERVICE="payments", MOMENT=noon.moment)

    assert town.standing() == before
    assert town.pay(5, payer=3)[0] == 201


def test_the_bank_goes_back_to_a_moment_and_on_from_there(town, noon):
    """The streams in NATS hold facts that have not happened then; nobody may hear them."""
    of_before = town.folder["nats"] / "store" / "of-before"
    of_before.touch()
    for _ in range(PAYMENTS):
        assert town.pay(11, payer=4)[0] == 201

    town.follow_runbook("Something was done that must not have been", MOMENT=noon.moment)

    assert not of_before.exists()
    assert town.standing() == noon.standing
    assert town.pay(1_000, key=noon.key) == (201, noon.answer)
    assert town.pay(1_001, key=noon.key)[0] == 409
    assert town.standing().balances == noon.standing.balances
    assert town.pay(2_000, key="paid-after-noon-2026")[0] == 201
    for _ in range(2 * PAYMENTS):
        assert town.pay(13, payer=5)[0] == 201
    assert town.standing().transactions == noon.standing.transactions + 1 + 2 * PAYMENTS
    town.cbs("verify")


def test_a_crash_and_a_restore_lose_nothing_that_was_answered(town, noon):
    """The restored bank has a history of its own, with an archive of its own; what was not
    archived yet is taken from what the crash left."""
    first, second = noon.backup["wal"], json.loads(town.cbs("backup", "--keep", "1", "--json"))
    assert second["wal"] != first
    assert {path.name for path in town.repository.iterdir()} == {
        *("shelf.json", second["name"], second["wal"])
    }
    assert town.pay(17, payer=1)[0] == 201
    before = town.standing()
    os.kill(town.pid(), signal.SIGKILL)

    town.follow_runbook("The disk is gone, or the data on it")

    assert town.standing() == before
    # On another machine there is what was archived.
    restored = standing_in(town, "restored")
    assert second["facts"]["ledger"] <= restored.facts["ledger"] <= before.facts["ledger"]


def test_a_page_that_the_disk_has_damaged_is_seen_in_time_and_comes_back(town, noon):
    """Nobody reads it as another amount; and what was answered since the backup comes back, too."""
    town.cbs("backup")
    assert town.pay(19, payer=1)[0] == 201
    before = town.standing()
    table = town.administer("SELECT pg_relation_filepath('account')", "cbs_ledger")
    town.cbs("down")
    (file,) = town.folder.root.glob(f"postgres/**/{table}")
    content = bytearray(file.read_bytes())
    for page in range(0, len(content), 8192):
        content[page + 8000] ^= 1
    file.write_bytes(content)
    town.cbs("up", "--detach")

    assert town.pay(23, payer=1)[0] == 503
    code, said = town.refused("verify")
    assert code == 3 and "broken-storage.md" in said
    assert f'invalid page in block 0 of relation "{table}"' in said
    code, said = town.refused("backup")
    assert code == 1 and "invalid page" in said
    assert "page verification failed" in town.cbs("logs", "postgres")
    town.follow_runbook("PostgreSQL: a page is damaged", page="broken-storage.md")

    assert town.standing() == before


def test_a_backup_with_secrets_is_all_that_another_machine_needs(town, noon):
    repository = town.root / "safe"
    backup = json.loads(town.cbs("backup", "--with-secrets", "--to", str(repository), "--json"))
    kept = repository / backup["name"] / "secrets"

    assert {file.stat().st_mode & 0o77 for file in (kept, *kept.iterdir())} == {0}
    before = town.standing()
    town.cbs("restore", str(repository), "--data", "third")

    assert standing_in(town, "third") == before
    mine, theirs = town.folder, Folder.at(town.root / "third")
    assert theirs.secret("vault.key").read_bytes() == mine.secret("vault.key").read_bytes()


def copier_of(town):
    """What a cluster makes for its backups; returns the server's URL, without anybody's name."""
    now = state.read(town.folder.state)
    assert now is not None
    admin = with_database(now.postgres_url, "postgres", postgres.ADMIN)
    word = secrets.password(town.folder, postgres.ADMIN)
    url = admin.replace("postgres@", f"postgres:{word}@")
    verifier = secrets.scram_verifier(secrets.password(town.folder, databases.BACKUP), b"salt" * 4)
    key = manifest.key_fingerprint(town.folder.secret("vault.key").read_text())
    asyncio.run(databases.make_backup_role(url, verifier, key))
    return postgres.without_user(now.postgres_url)


def test_a_server_elsewhere_is_copied_and_verified_by_roles_that_change_nothing(town, noon):
    url, repository, own = copier_of(town), town.root / "copies", town.folder
    passfile = {
        role: str(secrets.pgpass(own, role)) for role in (databases.BACKUP, databases.VERIFY)
    }
    before = town.standing()

    words = ("--postgres-url", url, "--to", str(repository), "--data", "nobodys", "--json")
    for _ in range(2):
        done = town.run("./cbs", "backup", *words, PGPASSFILE=passfile[databases.BACKUP])
        assert done.returncode == 0, done.stderr
    copy = json.loads(done.stdout)
    town.cbs(
        "restore", str(repository), "--data", "fifth", "--vault-key", str(own.secret("vault.key"))
    )
    seen = {"CBS_VERIFY_POSTGRES_URL": url, "PGPASSFILE": passfile[databases.VERIFY]}
    verified = town.run("./cbs", "verify", "--data", "nobodys", **seen)

    assert (copy["bank"], copy["facts"]) == (own.id, before.facts)
    assert standing_in(town, "fifth") == before
    assert verified.returncode == 0, verified.stdout + verified.stderr
    inside = with_database(url, "cbs_ledger", databases.BACKUP)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        administer(
            inside,
            secrets.pgpass(own, databases.BACKUP),
            "SET default_transaction_read_only = off",
            "UPDATE account SET balance_minor = 0",
        )


def test_a_copy_without_a_place_or_with_secrets_is_wrong_usage(town, noon):
    url = ("backup", "--postgres-url", "postgresql://127.0.0.1:1")
    assert town.refused(*url)[0] == 2
    assert town.refused(*url, "--to", "x", "--with-secrets")[0] == 2


def test_a_server_of_the_users_own_is_theirs_to_back_up_and_restore(town, noon):
    own = {"CBS_POSTGRES_URL": "postgresql://own@127.0.0.1:1/postgres"}
    restore = town.run("./cbs", "restore", str(town.repository), "--data", "fourth", "--yes", **own)

    assert (restore.returncode, "with its own tools" in restore.stderr) == (3, True)
    assert not (town.root / "fourth").exists()
    running = town.folder.state.read_bytes()
    told = json.loads(running) | {"external": ["postgres"]}
    town.folder.state.write_text(json.dumps(told))
    try:
        code, why = town.refused("backup")
    finally:
        town.folder.state.write_bytes(running)
    assert (code, "pg_basebackup" in why) == (3, True), why
