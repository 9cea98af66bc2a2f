"""What an auditor sees through the real app, on a real database."""

import hashlib
from datetime import timedelta

import pytest

from cbs.audit.store import PostgresLog
from cbs.platform.paging import cursor_of
from tests.audit import rfc9162
from tests.audit.facts import NOON, fact, record

HEARD = [record(position=n, actor=f"teller-{n % 2}", minutes=n) for n in range(1, 8)]


@pytest.fixture
async def auditor(served):
    database = served.service.runtime.postgres
    async with database.transaction():
        await PostgresLog(database=database).append(HEARD, at=NOON)
    async with served.client("auditor", "audit.read") as client:
        yield client


async def got(client, path: str, **params):
    response = await client.get(f"/v1/audit/{path}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def test_an_entry_shows_the_fact_as_it_was_published(auditor):
    entry = await got(auditor, "entries/0")

    assert entry["body"].encode() == fact(position=1, actor="teller-1", minutes=1)
    assert entry["leaf_hash"] == hashlib.sha256(b"\0" + entry["body"].encode()).hexdigest()
    assert entry["at"] == "2026-03-01T12:01:00Z"
    assert (entry["source"], entry["position"], entry["actor"]) == ("ledger", 1, "teller-1")


async def test_entries_are_listed_page_by_page(auditor):
    seen, cursor = [], ""
    while cursor is not None:
        page = await got(auditor, "entries", limit=3, cursor=cursor)
        seen.append([entry["index"] for entry in page["items"]])
        cursor = page["next_cursor"]

    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


async def test_entries_are_sought_by_actor_and_time(auditor):
    since, until = NOON + timedelta(minutes=2), NOON + timedelta(minutes=6)
    page = await got(
        auditor, "entries", actor="teller-0", **{"from": since.isoformat(), "to": until.isoformat()}
    )

    assert [entry["position"] for entry in page["items"]] == [2, 4]


async def test_an_outsider_checks_what_they_are_told(auditor):
    head = await got(auditor, "head")
    entry = await got(auditor, "entries/4")
    proof = await got(auditor, "entries/4/proof")
    older = await got(auditor, "entries/4/proof", tree_size=5)
    grown = await got(auditor, "consistency", first=5, second=head["tree_size"])

    leaf, root = bytes.fromhex(entry["leaf_hash"]), bytes.fromhex(head["root_hash"])
    path, older_root = path_of(proof), bytes.fromhex(older["root_hash"])
    assert root == rfc9162.tree_hash([each.body for each in HEARD])
    assert rfc9162.includes(leaf, 4, head["tree_size"], path, root)
    assert rfc9162.includes(leaf, 4, 5, path_of(older), older_root)
    assert rfc9162.begins(5, head["tree_size"], older_root, root, path_of(grown))


def path_of(proof) -> list[bytes]:
    return [bytes.fromhex(each) for each in proof["path"]]


async def test_times_at_the_ends_of_the_calendar_are_times(auditor):
    first, last = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"

    assert len((await got(auditor, "entries", **{"from": first, "to": last}))["items"]) == 7
    assert (await got(auditor, "entries", to=first))["items"] == []
    assert (await got(auditor, "entries", **{"from": last}))["items"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("entries/7", 404, "no-such-entry"),
        ("entries/-1", 400, "malformed"),
        ("entries/7/proof", 404, "no-such-entry"),
        ("entries/0/proof?tree_size=8", 404, "no-such-tree"),
        ("consistency?first=1&second=8", 404, "no-such-tree"),
        ("consistency?first=2&second=1", 409, "trees-not-in-order"),
        ("consistency?first=0&second=1", 400, "malformed"),
        ("entries?from=2026-03-01T12:00:00", 400, "malformed"),
        ("entries?actor=%00", 400, "malformed"),
        ("entries?cursor=nonsense", 400, "malformed"),
        ("entries?limit=201", 400, "malformed"),
    ],
)
async def test_a_no_is_a_problem_with_a_stable_code(auditor, path, status, code):
    response = await auditor.get(f"/v1/audit/{path}")

    assert (response.status_code, response.json()["type"]) == (status, f"urn:cbs:{code}")


async def test_numbers_and_texts_that_no_table_holds_are_malformed(served):
    """Of the platform's routes that every service has."""
    async with served.client("operator", "operations.read", "operations.replay") as client:
        letters = "/v1/audit/dead-letters"
        answers = [
            await client.post(f"{letters}/ledger/{2**70}/replay"),
            await client.post(f"{letters}/%00/1/replay"),
            await client.get("/v1/audit/requests/%00"),
            await client.get(letters, params={"cursor": cursor_of("\0", 1)}),
            await client.get(letters, params={"cursor": cursor_of("x", 2**70)}),
        ]

    assert [answer.status_code for answer in answers] == [400] * 5


@pytest.mark.parametrize(
    "path", ["entries", "entries/0", "entries/0/proof", "head", "consistency?first=1&second=1"]
)
async def test_only_who_may_read_the_log_reads_it(served, path):
    async with served.client("teller-1", "ledger.read") as client:
        response = await client.get(f"/v1/audit/{path}")

    assert (response.status_code, response.json()["type"]) == (403, "urn:cbs:not-permitted")
