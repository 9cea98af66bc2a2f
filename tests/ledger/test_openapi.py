import pytest

from tests.fuzzing import listening, operations_that_conform
from tests.ledger.conftest import OPERATOR


@pytest.mark.timeout(240)
def test_the_service_answers_as_its_openapi_says(described_ledger, signer):
    token = signer.token("olga", *OPERATOR, "operations.read", "operations.replay")

    with listening(described_ledger) as url:
        tried = operations_that_conform(described_ledger, url, token)

    assert {"POST /v1/ledger/transactions", "GET /v1/ledger/accounts/{number}/balance"} <= set(
        tried
    )
