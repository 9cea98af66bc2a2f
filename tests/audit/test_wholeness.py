"""`cbs verify` sees every change to the log, whoever makes it and however cleverly."""

import asyncpg
import pytest

from cbs.audit import invariants
from cbs.audit.invariants import audit_log_faults
from cbs.audit.store import PostgresLog
from cbs.platform.database import Database
from tests.audit.facts import NOON, record

ENTRIES = 11
CHANGED = "decode(replace(encode(body, 'escape'), 'note', 'nope'), 'escape')"


@pytest.fixture
async def kept(place):
    """A log of ENTRIES facts, with the source's watermark where it belongs."""
    database = Database(place.runtime_url)
    await database.open()
    async with database.transaction():
        heard = [record(position=n) for n in range(1, ENTRIES + 1)]
        await PostgresLog(database=database).append(heard, at=NOON)
        await database.execute("INSERT INTO watermark VALUES ('ledger', $1)", ENTRIES)
    await database.close()
    return place


async def faults_of(place) -> list[str]:
    connection = await asyncpg.connect(place.verify_url)
    try:
        return await audit_log_faults(connection)
    finally:
        await connection.close()


async def tampered(place, *statements: str) -> None:
    """As one who may do everything, and switches triggers and constraints off."""
    admin = await asyncpg.connect(place.admin_url)
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        "ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_check",
    )
    for statement in statements:
        await admin.execute(statement)
    await admin.close()


async def test_an_untouched_log_is_whole(kept):
    assert await faults_of(kept) == []


async def test_an_empty_log_is_whole(place):
    assert await faults_of(place) == []


@pytest.mark.parametrize("rows_max", [1, 3, 4])
async def test_a_log_is_read_in_batches_of_any_size(kept, monkeypatch, rows_max):
    monkeypatch.setattr(invariants, "BATCH_ROWS_MAX", rows_max)

    assert await faults_of(kept) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"UPDATE audit_entry SET body = {CHANGED} WHERE index = 5", "entry 5: its hash"),
        (
            f"UPDATE audit_entry SET body = {CHANGED},"
            f" leaf_hash = sha256('\\x00'::bytea || {CHANGED}) WHERE index = 5",
            "head: its root hash",
        ),
        ("UPDATE audit_entry SET body = '\\x00' WHERE index = 5", "entry 5: holds no fact"),
        ("UPDATE audit_entry SET leaf_hash = sha256('') WHERE index = 5", "entry 5: its hash"),
        ("UPDATE audit_entry SET actor = 'x' WHERE index = 5", "entry 5: actor is not"),
        ("UPDATE audit_entry SET subject = 'x' WHERE index = 5", "entry 5: subject is not"),
        ("UPDATE audit_entry SET at = at + '1 s' WHERE index = 5", "entry 5: at is not"),
        ("UPDATE audit_entry SET position = 99 WHERE index = 5", "entry 5: position is not"),
        ("UPDATE audit_entry SET index = 99 WHERE index = 10", "entry 99: comes where 10 is due"),
        ("DELETE FROM audit_entry WHERE index = 5", "entry 6: comes where 5 is due"),
        ("DELETE FROM audit_entry WHERE index = 10", "head: is of 11 entries; there are 10"),
        ("DELETE FROM audit_node WHERE level = 3", "node 3/0: missing"),
        ("UPDATE audit_node SET hash = sha256('') WHERE level = 2", "node 2/0: differs"),
        ("INSERT INTO audit_node VALUES (9, 0, sha256(''))", "nodes: 9 instead of 8"),
        ("UPDATE audit_head SET peaks[1] = sha256('')", "head: is of 11 entries"),
        ("UPDATE audit_head SET root_hash = sha256('')", "head: its root hash"),
        ("UPDATE watermark SET position = 12", "ledger: 12 facts heard, 11 kept, 0 set aside"),
    ],
)
async def test_every_change_is_seen(kept, statement, said):
    await tampered(kept, statement)

    assert any(fault.startswith(said) for fault in await faults_of(kept)), await faults_of(kept)


async def test_facts_set_aside_are_missing_in_no_log(kept):
    await tampered(
        kept,
        "UPDATE watermark SET position = 12",
        "INSERT INTO dead_letter VALUES ('ledger', 12, '', 'indigestible', now())",
    )

    assert await faults_of(kept) == []


async def test_a_ruined_log_does_not_fill_the_screen(kept):
    await tampered(kept, "UPDATE audit_entry SET actor = '', subject = '', fact = ''")

    assert len(await faults_of(kept)) == invariants.FAULTS_MAX
