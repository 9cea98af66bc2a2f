from uuid import UUID

from cbs.platform.process import started
from tests.accounts.conftest import TELLER
from tests.fuzzing import listening, operations_that_conform


def test_the_service_answers_as_its_openapi_says(
    accounts_service, ledger_service, customers_service, signer
):
    token = signer.token("tara", *TELLER, "operations.read", "operations.replay")

    with listening(ledger_service), listening(customers_service), listening(accounts_service) as url:
        tried = operations_that_conform(accounts_service, url, token)

    assert "POST /v1/accounts" in tried
