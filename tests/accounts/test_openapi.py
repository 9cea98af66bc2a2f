import asyncio

import pytest

from tests.accounts.conftest import TELLER
from tests.fuzzing import listening, operations_that_conform


@pytest.mark.timeout(240)
async def test_the_service_answers_as_its_openapi_says(
    accounts_service, ledger_service, customers, signer
):
    token = signer.token("tara", *TELLER, "operations.read")

    with listening(ledger_service), listening(accounts_service) as url:
        tried = await asyncio.to_thread(operations_that_conform, accounts_service, url, token)

    assert "POST /v1/accounts" in tried
    assert "GET /v1/accounts/{account_id}/statement" in tried
    assert "POST /v1/accounts/products" in tried
