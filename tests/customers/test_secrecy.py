"""PAN and Aadhaar are nowhere but in the customer's hand and, sealed, in the vault's rows."""

import contextlib
import io
import json
import logging
from hashlib import sha256

import asyncpg
import pytest
import structlog

from cbs.platform import telemetry
from cbs.platform.http import fingerprint
from tests.customers.people import aadhaar, body, pan

URL = "/v1/customers"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture
def log():
    """What the service writes to standard error at its most talkative."""
    written, before = io.StringIO(), (logging.root.handlers, logging.root.level)
    with contextlib.redirect_stderr(written):
        telemetry.start_logging(service="customers", level="debug")
    yield written
    logging.root.handlers, level = before
    logging.root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


async def contents(url: str) -> str:
    """Every row of every table as text, byte columns as text where they are one."""
    connection = await asyncpg.connect(url)
    try:
        found = []
        for (table,) in await connection.fetch(TABLES):
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                found += [
                    value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    for value in row.values()
                ]
        return "\n".join(found)
    finally:
        await connection.close()


async def ways(clerk, number: str, other: str) -> list[str]:
    """Everything that can be done with a number, and what was answered."""
    papers = [{"type": "pan", "number": number}, {"type": "aadhaar", "number": other}]
    first = await clerk.post(URL, json=body(documents=papers))
    url = f"{URL}/{first.json()['id']}"
    documents = [each["id"] for each in first.json()["documents"]]
    wrong = [number[:-1] + "1", other[:-1] + str((int(other[-1]) + 1) % 10), number * 4]
    answers = [
        first,
        await clerk.post(URL, json=body(documents=papers)),
        await clerk.post(f"{url}/documents", json=papers[0]),
        await clerk.post(f"{url}/documents/{documents[0]}/verify"),
        await clerk.post(f"{url}/documents/{documents[1]}/reject", json={"reason": "torn"}),
        await clerk.get(url),
        await clerk.get(URL),
        *[
            await clerk.post(f"{url}/documents", json={"type": type, "number": each})
            for type in ("pan", "aadhaar", "passport")
            for each in wrong
        ],
    ]
    return [f"{each.status_code} {each.text}" for each in answers]


async def test_numbers_appear_nowhere(served, clerk, log, service, facts):
    number, other = pan(), aadhaar()

    answers = await ways(clerk, number, other)

    assert sorted({each[:3] for each in answers}) == ["200", "201", "400", "409"]
    told = "".join(body.decode() for _, body in await facts())
    kept = await contents(service.runtime.settings.postgres_url)
    assert "Asha" in kept and "document-added" in kept and "document-verified" in told
    for place in (*answers, told, kept, log.getvalue()):
        assert number not in place and other not in place


async def test_facts_carry_no_personal_data(clerk, facts):
    await ways(clerk, pan(), aadhaar())

    told = "".join(body.decode() for _, body in await facts())

    for personal in ("Asha", "Rao", "1990-04-01", "9876543210", "MG Road", "411001", "torn"):
        assert personal not in told


async def test_a_crash_is_logged_without_what_it_was_about(served, clerk, log, monkeypatch):
    number = pan()
    store = served.service.spec.provide["customers"].store

    async def crash(self, customer, events):
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(store), "add", crash)
    answer = await clerk.post(URL, json=body(documents=[{"type": "pan", "number": number}]))

    assert answer.status_code == 500
    lines = [json.loads(each) for each in log.getvalue().splitlines()]
    assert any("a bug" in json.dumps(each) for each in lines)
    assert number not in log.getvalue() and "MG Road" not in log.getvalue()


async def test_a_fingerprint_cannot_be_searched_for_the_number(served, clerk, service):
    asked = body(documents=[{"type": "aadhaar", "number": aadhaar()}])
    await clerk.post(URL, json=asked)

    row = await service.runtime.postgres.fetchrow("SELECT fingerprint FROM request")

    plain = fingerprint("POST", URL, json.dumps(asked).encode())
    assert row["fingerprint"] not in (plain, sha256(plain).digest())


async def test_the_runtime_role_cannot_take_a_document_away(service, served):
    database = service.runtime.postgres
    for statement in (
        "DELETE FROM document",
        "DELETE FROM customer",
        "UPDATE document SET sealed = ''",
        "UPDATE vault SET proof = ''",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)


async def test_the_search_for_numbers_can_find_one(clerk, service):
    number = pan()
    customer = (await clerk.post(URL, json=body())).json()

    await clerk.post(f"{URL}/{customer['id']}/suspend", json={"reason": f"see {number}"})

    assert number in await contents(service.runtime.settings.postgres_url)
