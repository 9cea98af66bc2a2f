import pytest
import schemathesis
from hypothesis import strategies as st

from cbs.kernel.account_number import account_number
from tests.fuzzing import listening, operations_that_conform

schemathesis.openapi.format(
    "account-number",
    st.builds(account_number, branch=st.integers(1, 10**4 - 1), serial=st.integers(1, 10**9 - 1)),
)


@pytest.mark.timeout(240)
def test_the_service_answers_as_its_openapi_says(a_service, signer):
    permissions = ("payments.transfer", "payments.cash", "payments.read", "operations.read")
    token = signer.token("tilda", *permissions, "operations.replay")
    payments = a_service("payments")

    with listening(a_service("ledger")), listening(payments) as url:
        tried = operations_that_conform(payments, url, token)

    assert {"POST /v1/payments/transfers", "GET /v1/payments/requests/{key}"} <= set(tried)
