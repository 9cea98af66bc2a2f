"""What every store of the log promises, in memory and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from cbs.audit.application.log import AuditLog, LogStore, Sought
from cbs.audit.domain.entry import HistoryRewritten, Record
from cbs.audit.domain.proof import NoSuchEntry, NoSuchTree, TreesNotInOrder
from cbs.audit.main import in_postgres
from cbs.audit.memory import in_memory
from cbs.audit.service import DECLARATION
from tests.audit import rfc9162
from tests.audit.facts import NOON, record
from tests.stores import BOTH, made_on, runtime_on, url_of


class CommittedLog:
    """As the consumer does it: each append in a transaction of its own."""

    def __init__(self, store: LogStore, transaction: Callable[[], Any]) -> None:
        self.store, self.transaction = store, transaction

    async def append(self, records: Sequence[Record], *, at: datetime) -> None:
        async with self.transaction():
            await self.store.append(records, at=at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@asynccontextmanager
async def log_on(url: str | None) -> AsyncIterator[CommittedLog]:
    async with runtime_on(DECLARATION, url) as runtime:
        store = made_on(runtime, in_memory, in_postgres)
        yield CommittedLog(store, runtime.database.transaction)


@pytest.fixture(params=BOTH)
async def store(request):
    async with log_on(url_of(request, "audit")) as log:
        yield log


@pytest.fixture
def log(store) -> AuditLog:
    return AuditLog(store=store, now=lambda: NOON)


async def found(store, limit: int = 100, after=-1, **sought) -> list[int]:
    entries = await store.entries(Sought(**sought), after=after, limit=limit)
    return [entry.index for entry in entries]


def root_of(records: Sequence[Record]) -> bytes:
    return rfc9162.tree_hash([each.body for each in records])


async def test_an_empty_log_has_the_head_of_an_empty_tree(store):
    head = await store.head()

    assert (head.tree_size, head.root_hash) == (0, rfc9162.tree_hash([]))


async def test_entries_are_kept_byte_for_byte_in_the_order_of_hearing(store):
    heard = [record("ledger", 1), record("ledger", 2), record("accounts", 1)]

    await store.append(heard[:2], at=NOON)
    await store.append(heard[2:], at=NOON + timedelta(seconds=1))

    entries = [await store.entry(index) for index in range(3)]
    assert [entry.record for entry in entries] == heard
    assert [entry.index for entry in entries] == [0, 1, 2]
    assert await store.entry(3) is None
    head = await store.head()
    assert head.root_hash == root_of(heard)
    assert (head.tree_size, head.at) == (3, NOON + timedelta(seconds=1))


async def test_what_is_heard_again_is_kept_once(store):
    await store.append([record(position=1), record(position=1), record(position=2)], at=NOON)
    before = await store.head()

    await store.append([record(position=2), record(position=1)], at=NOON + timedelta(hours=1))

    assert await store.head() == before
    assert await found(store) == [0, 1]

    await store.append([record(position=1), record(position=3)], at=NOON)

    assert [(await store.entry(2)).record] == [record(position=3)]


async def test_another_fact_under_the_same_position_is_no_repetition(store):
    await store.append([record(note="as it was")], at=NOON)

    with pytest.raises(HistoryRewritten, match="ledger at 1"):
        await store.append([record(note="as somebody wants it")], at=NOON)

    assert (await store.head()).tree_size == 1


async def test_entries_are_found_by_actor_subject_source_and_time(store):
    await store.append(
        [
            record("ledger", 1, actor="asha", subject="s-1", minutes=2),
            record("ledger", 2, actor="ravi", subject="s-1", minutes=1),
            record("accounts", 1, actor="asha", subject="s-2", minutes=0),
        ],
        at=NOON,
    )

    minute = timedelta(minutes=1)
    assert await found(store) == [0, 1, 2]
    assert await found(store, actor="asha") == [0, 2]
    assert await found(store, subject="s-1") == [0, 1]
    assert await found(store, source="accounts") == [2]
    assert await found(store, since=NOON + minute) == [0, 1]
    assert await found(store, until=NOON + minute) == [2]
    assert await found(store, since=NOON + minute, until=NOON + 2 * minute) == [1]
    assert await found(store, actor="asha", source="ledger", since=NOON) == [0]
    assert await found(store, actor="nobody") == []


async def test_pages_go_on_where_the_last_one_ended_whatever_the_time_of_entries(store):
    await store.append([record(position=n, minutes=n % 4) for n in range(1, 12)], at=NOON)

    pages, after = [], -1
    while page := await store.entries(Sought(), after=after, limit=3):
        pages.append([entry.index for entry in page])
        after = page[-1].index

    assert pages == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]


async def test_every_entry_and_every_size_is_proved_to_an_outsider(store, log):
    heard = [record(position=n) for n in range(1, 14)]
    for start, stop in ((0, 1), (1, 6), (6, 13)):
        await log.keep(records=heard[start:stop])
    roots = [root_of(heard[:size]) for size in range(14)]

    for size in range(1, 14):
        for index in range(size):
            proof = await log.prove_inclusion(index=index, tree_size=size)
            assert proof.root_hash == roots[size]
            assert rfc9162.includes(proof.leaf_hash, index, size, proof.path, roots[size])
        grown = await log.prove_consistency(first=size, second=13)
        assert (grown.first_root_hash, grown.second_root_hash) == (roots[size], roots[13])
        assert rfc9162.begins(size, 13, roots[size], roots[13], grown.path)
    assert (await log.prove_inclusion(index=12, tree_size=None)).tree_size == 13


async def test_what_is_not_there_cannot_be_proved(log):
    await log.keep(records=[record(position=1), record(position=2)])

    with pytest.raises(NoSuchEntry):
        await log.entry(index=2)
    with pytest.raises(NoSuchEntry):
        await log.prove_inclusion(index=2, tree_size=None)
    with pytest.raises(NoSuchEntry):
        await log.prove_inclusion(index=1, tree_size=1)
    with pytest.raises(NoSuchTree):
        await log.prove_inclusion(index=0, tree_size=3)
    with pytest.raises(NoSuchTree):
        await log.prove_consistency(first=1, second=3)
    with pytest.raises(TreesNotInOrder):
        await log.prove_consistency(first=2, second=1)


async def test_parallel_appends_leave_no_gap_and_lose_nothing(database):
    """Eight writers of four sources, each fact from two of them, in batches of odd sizes."""
    heard = {
        source: [record(source, n) for n in range(1, 61)]
        for source in ("customers", "accounts", "ledger", "payments")
    }

    async def write(log: CommittedLog, source: str, batch: int) -> None:
        for start in range(0, 60, batch):
            await log.append(heard[source][start : start + batch], at=NOON)

    async with log_on(database("audit").runtime_url) as log:
        await asyncio.gather(*(write(log, source, n) for source in heard for n in (1, 7)))

        entries = await log.entries(Sought(), after=-1, limit=1000)
        head = await log.head()

    entries.sort(key=lambda entry: entry.index)
    assert [entry.index for entry in entries] == list(range(240))
    for source, records in heard.items():
        assert [e.record for e in entries if e.record.source == source] == records
    assert head.tree_size == 240
    assert head.root_hash == root_of([entry.record for entry in entries])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entry SET actor = 'somebody-else'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_node SET hash = sha256('')",
        "DELETE FROM audit_node",
        "TRUNCATE audit_node",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
        "UPDATE audit_head SET root_hash = sha256('')",
        "UPDATE audit_head SET tree_size = 0, peaks = '{}'",
    ],
)
@pytest.mark.parametrize("who", ["runtime", "owner"])
async def test_nobody_changes_what_is_kept(database, change, who):
    """The service lacks the privilege; whoever owns the tables meets the triggers."""
    place = database("audit")
    async with log_on(place.runtime_url) as log:
        await log.append([record(position=1), record(position=2)], at=NOON)
        before = await log.head()

        connection = await asyncpg.connect(getattr(place, f"{who}_url"))
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError)
        ):
            await connection.execute(change)
        await connection.close()

        assert await log.head() == before
        assert await found(log) == [0, 1]
