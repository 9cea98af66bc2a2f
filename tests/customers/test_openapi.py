import pytest

from tests.customers.conftest import CLERK
from tests.fuzzing import listening, operations_that_conform


@pytest.mark.timeout(240)
def test_the_service_answers_as_its_openapi_says(service, signer):
    token = signer.token("clerk", *CLERK, "customers.import", "operations.read")

    with listening(service) as url:
        tried = operations_that_conform(service, url, token)

    assert "POST /v1/customers" in tried
    assert "PATCH /v1/customers/{customer_id}" in tried
    assert "PUT /v1/customers/{customer_id}/risk" in tried
