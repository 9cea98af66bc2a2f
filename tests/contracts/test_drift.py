"""What is committed is what the code and the migrations say; `./cbs contracts write` writes it."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from cbs.bank import SERVICES
from cbs.platform.declaration import OF_EVERY_SERVICE, declaration_of
from cbs.tools.release import tables
from cbs.tools.release.contracts import described, files_of
from tests.conftest import Database

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("service", SERVICES)
def test_the_contracts_are_as_the_code(service):
    documents = described(service)
    assert set(documents) == {"openapi", "asyncapi"}

    for place, text in files_of(service, documents).items():
        committed = (ROOT / place).read_text()
        assert committed == text, f"{place} drifted: run ./cbs contracts write, read the diff"


def test_a_drift_is_seen():
    documents = described("ledger")
    before = files_of("ledger", documents)
    del documents["openapi"]["paths"]["/v1/ledger/transactions"]["post"]["responses"]["409"]

    assert files_of("ledger", documents) != before


def test_unknown_fields_are_told_the_truth_about():
    schemas = described("ledger")["openapi"]["components"]["schemas"]
    closed = {
        name for name, schema in schemas.items() if schema.get("additionalProperties") is False
    }

    assert {"Post", "LegWanted", "OpenInternalAccount"} <= {name.split("_")[-1] for name in closed}


@pytest.mark.parametrize("service", SERVICES)
async def test_the_columns_are_those_of_the_migrated_database(service, database):
    module = tables.file_of(service).read_text()

    assert await written(service, module, database) == module, "run ./cbs contracts write"


@pytest.mark.parametrize(
    ("column", "planted"),
    [
        ("    position = BigInt()\n", ""),
        ("    position = BigInt()\n", "    position = Integer()\n"),
        ("    position = BigInt()\n", "    position = BigInt(null=True)\n"),
        ("    id = UUID(primary_key=True)\n", "    id = UUID()\n"),
    ],
)
async def test_another_column_is_seen(database, column, planted):
    module = tables.file_of("payments").read_text()
    assert module.count(column) == 1

    assert await written("payments", module.replace(column, planted), database) == module


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_declares_the_tables_that_it_keeps(service, database):
    connection = await asyncpg.connect(database(service).owner_url)
    try:
        kept = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()

    declared = (*declaration_of(service).keeps, *OF_EVERY_SERVICE.keeps)
    assert sorted(table for (table,) in kept) == sorted(declared)


async def written(service: str, module: str, database: Callable[[str], Database]) -> str:
    connection = await asyncpg.connect(database(service).owner_url)
    try:
        return await tables.written(module, connection)
    finally:
        await connection.close()
