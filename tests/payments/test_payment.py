"""What is said of a payment that is malformed, and the names that callers read."""

from typing import Any

import pytest

from cbs.kernel.account_number import account_number
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Malformed
from cbs.payments.application.payments import Payments
from cbs.payments.domain import transfer as domain
from cbs.payments.domain.transfer import AccountsNotDistinct, Kind
from cbs.payments.memory import MemoryTransfers
from cbs.platform.memory.database import MemoryDatabase
from tests import published
from tests.payments.fakes import NotedLedger

ONE, OTHER = (account_number(branch=1, serial=serial) for serial in (1, 2))
WANTED: dict[str, Any] = {"currency": Currency.CZK, "narrative": "rent", "key": "k"}


@pytest.fixture
def payments() -> Payments:
    return Payments(ledger=NotedLedger(), transfers=MemoryTransfers(database=MemoryDatabase()))


@pytest.mark.parametrize(
    ("operation", "accounts", "field"),
    [
        ("transfer", {"remitter_account": "1", "beneficiary_account": "1"}, "remitter_account"),
        ("transfer", {"remitter_account": ONE, "beneficiary_account": "1"}, "beneficiary_account"),
        ("deposit", {"account": "1"}, "account"),
        ("withdraw", {"account": "1"}, "account"),
    ],
)
async def test_what_is_malformed_is_named_as_the_caller_named_it(
    payments, operation, accounts, field
):
    with pytest.raises(Malformed) as refused:
        await getattr(payments, operation)(**accounts, amount_minor=5, **WANTED)

    assert refused.value.detail == f"{field}: not an account number of this bank"


async def test_an_amount_is_looked_at_before_the_accounts_are_compared(payments):
    same = {"remitter_account": ONE, "beneficiary_account": ONE}
    with pytest.raises(Malformed, match="amount_minor"):
        await payments.transfer(**same, amount_minor=0, **WANTED)
    with pytest.raises(AccountsNotDistinct):
        await payments.transfer(**same, amount_minor=5, **WANTED)


@pytest.mark.parametrize("amount_minor", [1, MINOR_UNITS_MAX])
async def test_the_smallest_payment_is_one_minor_unit_and_the_largest_what_the_books_take(
    payments, amount_minor
):
    accounts = {"remitter_account": ONE, "beneficiary_account": OTHER}
    assert await payments.transfer(**accounts, amount_minor=amount_minor, **WANTED)
    for wrong in (0, MINOR_UNITS_MAX + 1):
        with pytest.raises(Malformed):
            await payments.transfer(**accounts, amount_minor=wrong, **WANTED)


def test_names_that_are_kept_or_published_do_not_change():
    assert [*Kind] == ["transfer", "cash-deposit", "cash-withdrawal"]
    assert published.refusals(domain) == {
        "no-such-transfer": "not-found",
        "accounts-not-distinct": "conflict",
        "no-such-account": "not-found",
        "account-closed": "conflict",
        "account-blocked": "conflict",
        "currency-mismatch": "conflict",
        "limit-per-transaction": "conflict",
        "limit-per-day": "conflict",
        "insufficient-funds": "conflict",
        "ceiling-passed": "conflict",
    }
