import pytest

from cbs.audit.store import PostgresLog
from cbs.platform.database import Database
from tests.audit.facts import NOON, record
from tests.fuzzing import listening, operations_that_conform


@pytest.mark.timeout(240)
async def test_the_service_answers_as_its_openapi_says(place, service, signer):
    database = Database(place.runtime_url)
    await database.open()
    async with database.transaction():
        heard = [record(position=n) for n in range(1, 4)]
        await PostgresLog(database=database).append(heard, at=NOON)
    await database.close()
    token = signer.token("auditor", "audit.read", "operations.read", "operations.replay")

    with listening(service) as url:
        tried = operations_that_conform(service, url, token)

    assert "GET /v1/audit/entries" in tried
    assert "GET /v1/audit/consistency" in tried
